// Package storage decides where the registry keeps its blobs.
//
// In come spec.storage of Config/cluster and what the cluster says about it: the claim, the default
// StorageClass, the wanted replicas, the credentials and the CA of an object store. Out comes a Plan: the effective storage, the claim to create, the
// volume and environment of the registry, the replicas and the rollout strategy that this storage allows,
// what to write back into the spec, and the StorageExists condition. Decide is pure.
//
// A volume that one node can write at a time decides more than its own mount: two registry Pods on it would
// block each other, so it caps the replicas and makes the rollout replace instead of surge.
//
// The package never deletes anything and never picks a storage that forgets its data by itself. Emptying and
// deleting on removal is decided by RemoveClaim alone, which asks for proof of ownership.
package storage

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
)

// MountPath is where the registry finds a volume.
const MountPath = "/registry"

// VolumeName is the name of that volume in the Pod.
const VolumeName = "registry-storage"

// Strategies of a rollout.
const (
	Recreate      = "Recreate"
	RollingUpdate = "RollingUpdate"
)

// Facts are what the decision needs to know about the cluster.
type Facts struct {
	// Claim is the claim that the spec names, or the operator's own when it names none; nil when it does
	// not exist.
	Claim *corev1.PersistentVolumeClaim
	// Running is the place of the blobs of the registry that runs, empty while none does.
	Running string
	// HasDefaultClass says whether a StorageClass is the cluster's default.
	HasDefaultClass bool
	// Classes are the names of all StorageClasses.
	Classes []string
	// Namespace is the one of the operands, for messages.
	Namespace string
	// User is the data of Secret image-registry-private-configuration-user, nil when it does not exist.
	User map[string][]byte
	// StorageCA is the data of the ConfigMap with the CA of the store, nil when it does not exist.
	StorageCA map[string]string
}

// Plan is the decision.
type Plan struct {
	// Effective is the storage with every default resolved; it becomes status.storage.
	Effective registryv1.StorageSpec
	// Claim is the claim to create or extend; nil when none is the operator's to write.
	Claim *Claim
	// Env are the storage variables of the registry.
	Env []corev1.EnvVar
	// Volume is mounted at MountPath; nil for object stores.
	Volume *corev1.VolumeSource
	// Object is nil for volumes.
	Object *ObjectStore
	// Replicas is what the registry gets, ReplicasReason says why.
	Replicas       int32
	ReplicasReason string
	// Strategy is Recreate or RollingUpdate.
	Strategy string
	// Exists is the StorageExists condition.
	Exists Existence
}

// Claim describes the operator's own claim.
type Claim struct {
	Name             string
	Size             string
	StorageClassName string
	AccessModes      []corev1.PersistentVolumeAccessMode
}

// Existence is the content of the StorageExists condition.
type Existence struct {
	Status  registryv1.ConditionStatus
	Reason  string
	Message string
}

// WriteBack is what the operator completes in the spec; empty fields are left alone.
type WriteBack struct {
	ManagementState registryv1.ManagementState
	Claim           string
}

// Empty says whether there is nothing to write.
func (w WriteBack) Empty() bool { return w.ManagementState == "" && w.Claim == "" }

// WriteBackFor compares the spec with the effective storage. A value that a person set is never changed.
func WriteBackFor(spec, effective registryv1.StorageSpec) WriteBack {
	var out WriteBack
	if spec.ManagementState == "" {
		out.ManagementState = effective.ManagementState
	}
	if effective.PVC != nil && (spec.PVC == nil || spec.PVC.Claim == "") {
		out.Claim = effective.PVC.Claim
	}
	return out
}

// Identity names the place of the blobs: two configurations with one identity hold the same images.
func Identity(s *registryv1.StorageSpec) string {
	switch {
	case s == nil:
		return ""
	case s.EmptyDir != nil:
		return "EmptyDir"
	case s.PVC != nil:
		return "PVC/" + s.PVC.Claim
	case s.S3 != nil:
		place := strings.TrimRight(s.S3.RegionEndpoint, "/")
		if place == "" {
			place = s.S3.Region
		}
		return "S3/" + place + "/" + s.S3.Bucket + "/" + cleanRoot(s.S3.RootDirectory)
	case s.GCS != nil:
		return "GCS/" + s.GCS.Bucket + "/" + cleanRoot(s.GCS.RootDirectory)
	case s.Azure != nil:
		return "Azure/" + azureRealms[s.Azure.CloudName] + "/" + s.Azure.AccountName + "/" + s.Azure.Container + "/" + cleanRoot(s.Azure.RootDirectory)
	default:
		return ""
	}
}

// Type is the label value of the storage metric.
func Type(s *registryv1.StorageSpec) string {
	switch {
	case s == nil:
		return ""
	case s.EmptyDir != nil:
		return "EmptyDir"
	case s.PVC != nil:
		return "PVC"
	case s.S3 != nil:
		return "S3"
	case s.GCS != nil:
		return "GCS"
	case s.Azure != nil:
		return "Azure"
	case s.IBMCOS != nil:
		return "IBMCOS"
	default:
		return ""
	}
}

// RemoveClaim decides whether the claim may be deleted when the registry is removed: the effective state is
// Managed, nobody switched to Unmanaged in the same patch or named another place for the blobs, and the operator
// created it: what a switch leaves behind is kept, also when the registry is removed in the same moment.
func RemoveClaim(spec registryv1.StorageSpec, effective *registryv1.StorageSpec, claim *corev1.PersistentVolumeClaim) bool {
	return claim != nil && effective != nil &&
		effective.ManagementState == registryv1.Managed &&
		spec.ManagementState != registryv1.Unmanaged &&
		effective.PVC != nil && len(backends(spec)) <= 1 && ClaimName(spec) == effective.PVC.Claim &&
		Owned(claim)
}

// Owned says whether the operator created the claim. Its mark counts only as the operator wrote it: with the YAML
// of the claim people copy the mark to claims of their own.
func Owned(claim *corev1.PersistentVolumeClaim) bool {
	return apply.WroteMark(claim, registryv1.OperatorName, registryv1.OwnedAnnotation)
}
