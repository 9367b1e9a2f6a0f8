// Package provision gives PersistentVolumeClaims of the cluster folders of the
// machine.
//
// Claims of a StorageClass with this provisioner get a PersistentVolume on a
// folder below one root that all nodes see, so a Pod may move between nodes
// and find its data, and any access mode is true. When a claim goes, a volume
// with the reclaim policy Delete goes with its folder; Retain keeps both.
//
// What to do is decided by pure functions on a claim, its class and a volume;
// the controller only carries it out. Nothing outside the root is ever removed.
package provision

import (
	"fmt"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image.alauda.io/registry/hack/devcluster/internal/plan"
)

// Annotations of the contract between the volume controller, the scheduler and
// provisioners.
const (
	annotationProvisionedBy = "pv.kubernetes.io/provisioned-by"
	annotationSelectedNode  = "volume.kubernetes.io/selected-node"
)

// wanted says whether the claim waits for a volume of this provisioner now; the
// reason is for the log and, when refused is true, for the claim's owner.
func wanted(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass) (now bool, refused string) {
	switch {
	case class == nil || class.Provisioner != plan.Provisioner:
		return false, ""
	case claim.DeletionTimestamp != nil || claim.Spec.VolumeName != "" || claim.Status.Phase == corev1.ClaimBound:
		return false, ""
	case claim.Spec.VolumeMode != nil && *claim.Spec.VolumeMode == corev1.PersistentVolumeBlock:
		return false, "block volumes are not offered here: ask for volumeMode Filesystem"
	case claim.Spec.Selector != nil:
		return false, "claims with a selector cannot be provisioned: remove spec.selector"
	case waits(class) && claim.Annotations[annotationSelectedNode] == "":
		return false, ""
	}
	return true, ""
}

func waits(class *storagev1.StorageClass) bool {
	return class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
}

// volumeName is the name of the claim's volume and of its folder.
func volumeName(claim *corev1.PersistentVolumeClaim) string { return "pvc-" + string(claim.UID) }

// volumeFor is the PersistentVolume for a claim.
func volumeFor(root string, claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass) *corev1.PersistentVolume {
	policy := corev1.PersistentVolumeReclaimDelete
	if class.ReclaimPolicy != nil {
		policy = *class.ReclaimPolicy
	}
	kind := corev1.HostPathDirectory
	name := volumeName(claim)
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Annotations: map[string]string{annotationProvisionedBy: plan.Provisioner},
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			AccessModes:                   claim.Spec.AccessModes,
			PersistentVolumeReclaimPolicy: policy,
			StorageClassName:              class.Name,
			MountOptions:                  class.MountOptions,
			VolumeMode:                    claim.Spec.VolumeMode,
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID, ResourceVersion: claim.ResourceVersion,
			},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				HostPath: &corev1.HostPathVolumeSource{Path: filepath.Join(root, name), Type: &kind},
			},
		},
	}
}

// discarded says whether the volume and its folder are to be removed.
func discarded(volume *corev1.PersistentVolume) bool {
	return volume.Annotations[annotationProvisionedBy] == plan.Provisioner &&
		volume.Status.Phase == corev1.VolumeReleased &&
		volume.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete &&
		volume.DeletionTimestamp == nil
}

// folder is the volume's folder; it must be a direct child of the root, because
// it is going to be removed with everything in it.
func folder(root string, volume *corev1.PersistentVolume) (string, error) {
	if volume.Spec.HostPath == nil {
		return "", fmt.Errorf("volume %s has no folder", volume.Name)
	}
	path := filepath.Clean(volume.Spec.HostPath.Path)
	if filepath.Dir(path) != filepath.Clean(root) {
		return "", fmt.Errorf("volume %s: %s is not a folder of this provisioner", volume.Name, path)
	}
	return path, nil
}
