package storage

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/fault"
)

const howToConfigure = "set spec.storage of Config cluster to one of " +
	`{"emptyDir":{}} (images are lost with the Pod), {"pvc":{"claim":"<name>"}} or {"s3":{"bucket":"<name>",…}}`

// ClaimName is the claim that the facts must be gathered for; empty when the storage is not a claim.
func ClaimName(spec registryv1.StorageSpec) string {
	switch {
	case len(backends(spec)) == 0:
		return registryv1.ManagedClaimName
	case spec.PVC == nil:
		return ""
	case spec.PVC.Claim == "":
		return registryv1.ManagedClaimName
	default:
		return spec.PVC.Claim
	}
}

// Decide returns the plan for the storage of config, or a permanent fault. With a fault the plan still
// carries the StorageExists condition.
func Decide(config *registryv1.Config, facts Facts) (Plan, error) {
	spec := config.Spec.Storage
	set := backends(spec)
	switch {
	case len(set) > 1:
		return Plan{}, fault.Permanentf(registryv1.ReasonMultipleStoragesConfigured,
			"spec.storage of Config cluster sets %s; leave exactly one", strings.Join(set, " and "))
	case len(set) == 0 && !facts.HasDefaultClass && facts.Claim == nil:
		return Plan{Exists: Existence{registryv1.ConditionFalse, registryv1.ReasonNotConfigured, "no storage is configured"}},
			fault.Permanentf(registryv1.ReasonStorageNotConfigured,
				"no storage is configured and the cluster has no default StorageClass; %s", howToConfigure)
	case spec.EmptyDir != nil && tooSmall(spec.EmptyDir.SizeLimit):
		return invalid("spec.storage.emptyDir.sizeLimit is %s, with which the Pod would be evicted at once; write the unit, as 10Gi, or 0 for no limit", spec.EmptyDir.SizeLimit.String())
	case spec.EmptyDir != nil:
		return decideEmptyDir(config), nil
	case len(set) == 0 || spec.PVC != nil:
		return decidePVC(config, facts)
	case spec.S3 != nil:
		return decideS3(config, facts)
	case spec.GCS != nil:
		return decideGCS(config, facts)
	case spec.Azure != nil:
		return decideAzure(config, facts)
	default:
		return refused(registryv1.ReasonUnsupportedStorage,
			"spec.storage.%s is not supported; such a store is reached through spec.storage.s3 with regionEndpoint", set[0])
	}
}

// backends lists what is set, in the order of the schema.
func backends(s registryv1.StorageSpec) []string {
	var out []string
	for _, backend := range []struct {
		name string
		set  bool
	}{
		{"emptyDir", s.EmptyDir != nil}, {"pvc", s.PVC != nil}, {"s3", s.S3 != nil}, {"gcs", s.GCS != nil},
		{"azure", s.Azure != nil}, {"ibmcos", s.IBMCOS != nil}, {"swift", s.Swift != nil}, {"oss", s.OSS != nil},
	} {
		if backend.set {
			out = append(out, backend.name)
		}
	}
	return out
}

// tooSmall says whether a size is a mistake in the unit: 100 is a hundred bytes. The cluster refuses negative ones.
func tooSmall(size *resource.Quantity) bool {
	return size != nil && size.Sign() > 0 && size.CmpInt64(mebibyte) < 0
}

func filesystemEnv() []corev1.EnvVar {
	return []corev1.EnvVar{
		{Name: "REGISTRY_STORAGE", Value: "filesystem"},
		{Name: "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", Value: MountPath},
	}
}

func decideEmptyDir(config *registryv1.Config) Plan {
	plan := Plan{
		Effective: registryv1.StorageSpec{
			ManagementState: resolved(config.Spec.Storage.ManagementState, registryv1.Managed),
			EmptyDir:        config.Spec.Storage.EmptyDir.DeepCopy(),
		},
		Env:      filesystemEnv(),
		Volume:   &corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: config.Spec.Storage.EmptyDir.SizeLimit}},
		Strategy: RollingUpdate,
		Exists:   Existence{registryv1.ConditionTrue, registryv1.ReasonEmptyDir, "images are kept in the Pod and lost with it"},
	}
	plan.Replicas, plan.ReplicasReason = asSpecified(config)
	if config.Spec.RolloutStrategy != "" {
		plan.Strategy = config.Spec.RolloutStrategy
	}
	return plan
}

func resolved(set, otherwise registryv1.ManagementState) registryv1.ManagementState {
	if set != "" {
		return set
	}
	return otherwise
}

func asSpecified(config *registryv1.Config) (int32, string) {
	replicas := wantedReplicas(config)
	if replicas == 0 {
		return 0, registryv1.ReplicasReasonScaledToZero
	}
	return replicas, registryv1.ReplicasReasonAsSpecified
}

func wantedReplicas(config *registryv1.Config) int32 {
	if config.Spec.Replicas == nil {
		return registryv1.DefaultReplicas
	}
	return *config.Spec.Replicas
}

func decidePVC(config *registryv1.Config, facts Facts) (Plan, error) {
	spec := config.Spec.Storage
	wanted := registryv1.PVCStorage{}
	if spec.PVC != nil {
		wanted = *spec.PVC.DeepCopy()
	}
	named := wanted.Claim != ""
	if !named {
		wanted.Claim = registryv1.ManagedClaimName
	}
	state := spec.ManagementState
	if state == "" && named && (facts.Claim == nil || !Owned(facts.Claim)) {
		state = registryv1.Unmanaged
	}
	state = resolved(state, registryv1.Managed)

	plan := Plan{
		Effective: registryv1.StorageSpec{ManagementState: state, PVC: &wanted},
		Env:       filesystemEnv(),
		Volume: &corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{
			ClaimName: wanted.Claim,
		}},
	}
	if err := decideClaim(&plan, config, facts, named); err != nil {
		return plan, err
	}
	modes := plan.claimModes(facts)
	plan.Effective.PVC.AccessModes = modes
	return plan, placePods(&plan, config, modes)
}

// decideClaim says whose the claim is and whether it has to be made.
func decideClaim(plan *Plan, config *registryv1.Config, facts Facts, named bool) error {
	wanted := plan.Effective.PVC
	claim := facts.Claim
	switch {
	case claim != nil && claim.DeletionTimestamp != nil:
		return plan.ending(claim, facts)
	case claim != nil && claim.Status.Phase == corev1.ClaimLost:
		return plan.missing(registryv1.ReasonPVCLost, registryv1.ReasonInvalidStorageConfiguration,
			"PersistentVolumeClaim %s has lost its PersistentVolume %s; restore the volume, or name another claim in spec.storage.pvc.claim", wanted.Claim, claim.Spec.VolumeName)
	case claim != nil && !Owned(claim) && !named:
		return plan.missing(registryv1.ReasonPVCNotOwned, registryv1.ReasonInvalidStorageConfiguration,
			"PersistentVolumeClaim %s exists and was not made by the operator; name it in spec.storage.pvc.claim to use it", wanted.Claim)
	case claim != nil && !Owned(claim):
		plan.Exists = Existence{registryv1.ConditionTrue, registryv1.ReasonPVCExists, fmt.Sprintf("PersistentVolumeClaim %s is used as it is", wanted.Claim)}
		return nil
	case claim == nil && plan.Effective.ManagementState != registryv1.Managed:
		return plan.missing(registryv1.ReasonPVCNotFound, registryv1.ReasonInvalidStorageConfiguration,
			"PersistentVolumeClaim %s does not exist; create it, or set spec.storage.managementState to Managed to let the operator create it", wanted.Claim)
	}
	if err := checkClass(plan, facts); err != nil {
		return err
	}
	if claim == nil && tooSmall(wanted.Size) {
		return plan.missing(registryv1.ReasonPVCNotFound, registryv1.ReasonInvalidStorageConfiguration,
			"spec.storage.pvc.size is %s, too small for any image; write the unit, as 100Gi", wanted.Size.String())
	}
	plan.Claim = ownClaim(config, wanted)
	plan.Exists = Existence{registryv1.ConditionTrue, registryv1.ReasonPVCCreated, fmt.Sprintf("PersistentVolumeClaim %s is kept by the operator", wanted.Claim)}
	if claim != nil {
		return keepClaim(plan, claim)
	}
	return nil
}

// ending is about a claim that was deleted and exists as long as a Pod uses it. The registry that uses it may not be
// rolled: with its Pod the claim would go, and with the claim, mostly, the images.
func (p *Plan) ending(claim *corev1.PersistentVolumeClaim, facts Facts) error {
	if facts.Running == "PVC/"+claim.Name {
		return p.missing(registryv1.ReasonPVCIssuesFound, registryv1.ReasonInvalidStorageConfiguration,
			"PersistentVolumeClaim %s in namespace %s was deleted and ends, perhaps with all images, as soon as no Pod of the registry uses it, so the registry is left as it runs; set persistentVolumeReclaimPolicy of PersistentVolume %s to Retain or copy the images, then name another claim in spec.storage.pvc.claim of Config cluster or delete the Pods of the registry",
			claim.Name, facts.Namespace, claim.Spec.VolumeName)
	}
	message := fmt.Sprintf("PersistentVolumeClaim %s in namespace %s is being deleted", claim.Name, facts.Namespace)
	p.Exists = Existence{registryv1.ConditionFalse, registryv1.ReasonPVCIssuesFound, message}
	if facts.Running != "" {
		return fault.Permanentf(registryv1.ReasonInvalidStorageConfiguration, "%s; wait until it is gone, or name another one in spec.storage.pvc.claim", message)
	}
	return fault.WaitingFor("PersistentVolumeClaim %s, which is being deleted, to be gone", claim.Name)
}

// checkClass refuses a StorageClass by which the claim would never get a volume. A claim keeps the class with which
// it was made, so a wrong name may not get that far, and a claim that has it already can only be made anew.
func checkClass(plan *Plan, facts Facts) error {
	wanted, claim := plan.Effective.PVC, facts.Claim
	unbound := claim == nil || claim.Spec.VolumeName == "" && claim.Status.Phase != corev1.ClaimBound
	if wanted.StorageClassName == "" || !unbound {
		return nil
	}
	if claim != nil && claim.Spec.StorageClassName != nil && *claim.Spec.StorageClassName != wanted.StorageClassName {
		return plan.missing(registryv1.ReasonPVCIssuesFound, registryv1.ReasonInvalidStorageConfiguration,
			"spec.storage.pvc.storageClassName is %s, but PersistentVolumeClaim %s was made with StorageClass %s, which cannot be changed; the claim has no volume yet, so delete it to have it made anew",
			wanted.StorageClassName, claim.Name, *claim.Spec.StorageClassName)
	}
	if !slices.Contains(facts.Classes, wanted.StorageClassName) {
		return plan.missing(registryv1.ReasonPVCIssuesFound, registryv1.ReasonInvalidStorageConfiguration,
			"spec.storage.pvc.storageClassName: StorageClass %s does not exist, so PersistentVolumeClaim %s would get no volume; create the class, or name another one",
			wanted.StorageClassName, wanted.Claim)
	}
	return nil
}

func (p *Plan) missing(existence, reason, format string, args ...any) error {
	message := fmt.Sprintf(format, args...)
	p.Exists = Existence{registryv1.ConditionFalse, existence, message}
	return fault.Permanentf(reason, "%s", message)
}

func ownClaim(config *registryv1.Config, wanted *registryv1.PVCStorage) *Claim {
	claim := &Claim{Name: wanted.Claim, Size: registryv1.DefaultPVCSize, StorageClassName: wanted.StorageClassName, AccessModes: wanted.AccessModes}
	if wanted.Size != nil {
		claim.Size = wanted.Size.String()
	}
	if len(claim.AccessModes) == 0 {
		claim.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
		if wantedReplicas(config) > 1 {
			claim.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
		}
	}
	return claim
}

// keepClaim leaves what cannot be changed on an existing claim as it is, and refuses a smaller size.
func keepClaim(plan *Plan, live *corev1.PersistentVolumeClaim) error {
	plan.Claim.AccessModes = live.Spec.AccessModes
	ours := apply.Wrote(live, registryv1.OperatorName, "spec", "storageClassName")
	if live.Spec.StorageClassName != nil && (plan.Claim.StorageClassName != "" || ours) {
		plan.Claim.StorageClassName = *live.Spec.StorageClassName
	}
	have := live.Spec.Resources.Requests[corev1.ResourceStorage]
	want, err := resource.ParseQuantity(plan.Claim.Size)
	if err != nil {
		return fault.Permanentf(registryv1.ReasonInvalidStorageConfiguration, "spec.storage.pvc.size: %v", err)
	}
	explicit := plan.Effective.PVC.Size != nil
	switch {
	case want.Cmp(have) < 0 && explicit:
		return fault.Permanentf(registryv1.ReasonInvalidStorageConfiguration,
			"spec.storage.pvc.size %s is smaller than PersistentVolumeClaim %s with %s; a volume cannot shrink", want.String(), live.Name, have.String())
	case !explicit:
		plan.Claim.Size = have.String()
	}
	return nil
}

func (p *Plan) claimModes(facts Facts) []corev1.PersistentVolumeAccessMode {
	if facts.Claim != nil {
		return facts.Claim.Spec.AccessModes
	}
	return p.Claim.AccessModes
}

// placePods decides replicas and strategy from the access modes.
func placePods(plan *Plan, config *registryv1.Config, modes []corev1.PersistentVolumeAccessMode) error {
	claim := plan.Effective.PVC.Claim
	plan.Replicas, plan.ReplicasReason = asSpecified(config)
	has := func(mode corev1.PersistentVolumeAccessMode) bool { return slices.Contains(modes, mode) }
	switch {
	case has(corev1.ReadWriteMany):
		plan.Strategy = RollingUpdate
	case has(corev1.ReadWriteOnce) || has(corev1.ReadWriteOncePod):
		if config.Spec.RolloutStrategy == RollingUpdate {
			return plan.missing(registryv1.ReasonPVCIssuesFound, registryv1.ReasonInvalidStorageConfiguration,
				"spec.rolloutStrategy RollingUpdate cannot work with PersistentVolumeClaim %s, which one node can use at a time; leave it empty or set Recreate", claim)
		}
		if plan.Replicas > 1 {
			plan.Replicas, plan.ReplicasReason = 1, registryv1.ReplicasReasonSingleWriterVolume
		}
		plan.Strategy = Recreate
	case has(corev1.ReadOnlyMany) && config.Spec.ReadOnly:
		plan.Strategy = RollingUpdate
	default:
		return plan.missing(registryv1.ReasonPVCIssuesFound, registryv1.ReasonInvalidStorageConfiguration,
			"PersistentVolumeClaim %s cannot be written (access modes %v); use one with ReadWriteOnce or ReadWriteMany, or set spec.readOnly", claim, modes)
	}
	if config.Spec.RolloutStrategy != "" {
		plan.Strategy = config.Spec.RolloutStrategy
	}
	return nil
}
