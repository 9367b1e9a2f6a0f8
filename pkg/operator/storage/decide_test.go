package storage

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
)

func claim(owned bool, modes ...corev1.PersistentVolumeAccessMode) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{}
	c.Name = "data"
	c.Spec.AccessModes = modes
	c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("100Gi")}
	if owned {
		mark(c, registryv1.OperatorName)
	}
	return c
}

// mark writes the mark of ownership as a manager.
func mark(c *corev1.PersistentVolumeClaim, manager string) {
	c.Annotations = map[string]string{registryv1.OwnedAnnotation: "true"}
	c.ManagedFields = []metav1.ManagedFieldsEntry{{
		Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:annotations":{"f:` + registryv1.OwnedAnnotation + `":{}}},"f:spec":{"f:storageClassName":{}}}`),
	}}
}

// ending is a claim that was deleted while a Pod uses it.
func ending(c *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
	c.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	c.Spec.VolumeName = "pv-1"
	return c
}

// pending is a claim without a volume.
func pending(c *corev1.PersistentVolumeClaim, class string) *corev1.PersistentVolumeClaim {
	c.Status.Phase, c.Spec.StorageClassName = corev1.ClaimPending, ptr.To(class)
	return c
}

func bound(c *corev1.PersistentVolumeClaim, class string) *corev1.PersistentVolumeClaim {
	c.Status.Phase, c.Spec.StorageClassName, c.Spec.VolumeName = corev1.ClaimBound, ptr.To(class), "pv-1"
	return c
}

// classed asks for a claim of the operator's with a class.
func classed(class string) registryv1.StorageSpec {
	return registryv1.StorageSpec{ManagementState: registryv1.Managed, PVC: &registryv1.PVCStorage{Claim: "data", StorageClassName: class}}
}

func size(text string) *resource.Quantity { return ptr.To(resource.MustParse(text)) }

// sized asks for a claim of the operator's with a size.
func sized(text string) registryv1.StorageSpec {
	return registryv1.StorageSpec{ManagementState: registryv1.Managed, PVC: &registryv1.PVCStorage{Claim: "data", Size: size(text)}}
}

func copied() *corev1.PersistentVolumeClaim {
	c := claim(false, corev1.ReadWriteOnce)
	mark(c, "kubectl-client-side-apply")
	return c
}

// Behaviours 12 to 16, 18.
func TestDecide(t *testing.T) {
	const rwo, rwx, rox = corev1.ReadWriteOnce, corev1.ReadWriteMany, corev1.ReadOnlyMany
	named := registryv1.StorageSpec{PVC: &registryv1.PVCStorage{Claim: "data"}}
	for _, test := range []struct {
		name     string
		storage  registryv1.StorageSpec
		replicas int32
		strategy string
		facts    Facts
		fault    string
		waits    bool
		exists   string
		want     Plan
		creates  bool
	}{
		{name: "nothing and no class", fault: registryv1.ReasonStorageNotConfigured, exists: registryv1.ReasonNotConfigured, replicas: 1},
		{name: "nothing and a default class", replicas: 1, facts: Facts{HasDefaultClass: true}, exists: registryv1.ReasonPVCCreated, creates: true,
			want: Plan{Replicas: 1, ReplicasReason: "AsSpecified", Strategy: Recreate}},
		{name: "emptyDir", replicas: 1, storage: registryv1.StorageSpec{EmptyDir: &registryv1.EmptyDirStorage{}}, exists: registryv1.ReasonEmptyDir,
			want: Plan{Replicas: 1, ReplicasReason: "AsSpecified", Strategy: RollingUpdate}},
		{name: "emptyDir without a limit", replicas: 1, storage: registryv1.StorageSpec{EmptyDir: &registryv1.EmptyDirStorage{SizeLimit: size("0")}}, exists: registryv1.ReasonEmptyDir,
			want: Plan{Replicas: 1, ReplicasReason: "AsSpecified", Strategy: RollingUpdate}},
		{name: "emptyDir without the unit", replicas: 1, storage: registryv1.StorageSpec{EmptyDir: &registryv1.EmptyDirStorage{SizeLimit: size("10")}}, fault: registryv1.ReasonInvalidStorageConfiguration, exists: registryv1.ReasonUnknownError},
		{name: "new claim without the unit", replicas: 1, storage: sized("100"), fault: registryv1.ReasonInvalidStorageConfiguration, exists: registryv1.ReasonPVCNotFound},
		{name: "new claim of the least size", replicas: 1, storage: sized("1Mi"), exists: registryv1.ReasonPVCCreated, creates: true,
			want: Plan{Replicas: 1, ReplicasReason: "AsSpecified", Strategy: Recreate}},
		{name: "two back ends", replicas: 1, storage: registryv1.StorageSpec{EmptyDir: &registryv1.EmptyDirStorage{}, PVC: &registryv1.PVCStorage{}}, fault: registryv1.ReasonMultipleStoragesConfigured},
		{name: "object store without a driver", replicas: 1, storage: registryv1.StorageSpec{IBMCOS: &registryv1.IBMCOSStorage{}}, fault: registryv1.ReasonUnsupportedStorage, exists: registryv1.ReasonUnknownError},
		{name: "named claim is missing", replicas: 1, storage: named, fault: registryv1.ReasonInvalidStorageConfiguration, exists: registryv1.ReasonPVCNotFound},
		{name: "foreign claim", replicas: 1, storage: named, facts: Facts{Claim: claim(false, rwo)}, exists: registryv1.ReasonPVCExists,
			want: Plan{Replicas: 1, ReplicasReason: "AsSpecified", Strategy: Recreate}},
		{name: "single writer caps", replicas: 2, storage: named, facts: Facts{Claim: claim(false, rwo)}, exists: registryv1.ReasonPVCExists,
			want: Plan{Replicas: 1, ReplicasReason: "SingleWriterVolume", Strategy: Recreate}},
		{name: "single writer refuses to roll", replicas: 1, strategy: RollingUpdate, storage: named, facts: Facts{Claim: claim(false, rwo)}, fault: registryv1.ReasonInvalidStorageConfiguration, exists: registryv1.ReasonPVCIssuesFound},
		{name: "claim with a copied mark", replicas: 1, storage: named, facts: Facts{Claim: copied()}, exists: registryv1.ReasonPVCExists,
			want: Plan{Replicas: 1, ReplicasReason: "AsSpecified", Strategy: Recreate}},
		{name: "many writers", replicas: 3, storage: named, facts: Facts{Claim: claim(false, rwx)}, exists: registryv1.ReasonPVCExists,
			want: Plan{Replicas: 3, ReplicasReason: "AsSpecified", Strategy: RollingUpdate}},
		{name: "no writer", replicas: 1, storage: named, facts: Facts{Claim: claim(false, rox)}, fault: registryv1.ReasonInvalidStorageConfiguration, exists: registryv1.ReasonPVCIssuesFound},
		{name: "foreign claim under the operator's name", replicas: 1, storage: registryv1.StorageSpec{PVC: &registryv1.PVCStorage{}}, facts: Facts{Claim: claim(false, rwo)}, fault: registryv1.ReasonInvalidStorageConfiguration, exists: registryv1.ReasonPVCNotOwned},
		{name: "claim that ends under the registry", replicas: 1, storage: named, facts: Facts{Claim: ending(claim(false, rwo)), Running: "PVC/data"}, fault: registryv1.ReasonInvalidStorageConfiguration, exists: registryv1.ReasonPVCIssuesFound},
		{name: "own claim that ends under the registry", replicas: 1, storage: named, facts: Facts{Claim: ending(claim(true, rwo)), Running: "PVC/data"}, fault: registryv1.ReasonInvalidStorageConfiguration, exists: registryv1.ReasonPVCIssuesFound},
		{name: "switch to a claim that ends", replicas: 1, storage: named, facts: Facts{Claim: ending(claim(false, rwo)), Running: "EmptyDir"}, fault: registryv1.ReasonInvalidStorageConfiguration, exists: registryv1.ReasonPVCIssuesFound},
		{name: "claim of a registry that was removed ends", replicas: 1, storage: named, facts: Facts{Claim: ending(claim(true, rwo))}, waits: true, exists: registryv1.ReasonPVCIssuesFound},
		{name: "missing class", replicas: 1, storage: classed("fats"), facts: Facts{Classes: []string{"fast"}}, fault: registryv1.ReasonInvalidStorageConfiguration, exists: registryv1.ReasonPVCIssuesFound},
		{name: "class that exists", replicas: 1, storage: classed("fast"), facts: Facts{Classes: []string{"fast"}}, exists: registryv1.ReasonPVCCreated, creates: true,
			want: Plan{Replicas: 1, ReplicasReason: "AsSpecified", Strategy: Recreate}},
		{name: "corrected class of a claim without a volume", replicas: 1, storage: classed("fast"), facts: Facts{Classes: []string{"fast"}, Claim: pending(claim(true, rwo), "fats")}, fault: registryv1.ReasonInvalidStorageConfiguration, exists: registryv1.ReasonPVCIssuesFound},
		{name: "class of a claim without a volume is gone", replicas: 1, storage: classed("fast"), facts: Facts{Claim: pending(claim(true, rwo), "fast")}, fault: registryv1.ReasonInvalidStorageConfiguration, exists: registryv1.ReasonPVCIssuesFound},
		{name: "class of a claim with a volume is gone", replicas: 1, storage: classed("fast"), facts: Facts{Claim: bound(claim(true, rwo), "fast")}, exists: registryv1.ReasonPVCCreated, creates: true,
			want: Plan{Replicas: 1, ReplicasReason: "AsSpecified", Strategy: Recreate}},
		{name: "own claim", replicas: 0, storage: named, facts: Facts{Claim: claim(true, rwo)}, exists: registryv1.ReasonPVCCreated, creates: true,
			want: Plan{Replicas: 0, ReplicasReason: "ScaledToZero", Strategy: Recreate}},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := &registryv1.Config{Spec: registryv1.ConfigSpec{Storage: test.storage, Replicas: ptr.To(test.replicas), RolloutStrategy: test.strategy}}
			plan, err := Decide(config, test.facts)
			var permanent *fault.Permanent
			reason := ""
			if errors.As(err, &permanent) {
				reason = permanent.Reason
			}
			if reason != test.fault || plan.Exists.Reason != test.exists {
				t.Fatalf("fault %q, exists %q; want %q, %q (%v)", reason, plan.Exists.Reason, test.fault, test.exists, err)
			}
			var waiting *fault.Waiting
			if errors.As(err, &waiting) != test.waits {
				t.Fatalf("waits: %t, want %t (%v)", !test.waits, test.waits, err)
			}
			if err != nil {
				return
			}
			if plan.Replicas != test.want.Replicas || plan.ReplicasReason != test.want.ReplicasReason || plan.Strategy != test.want.Strategy {
				t.Errorf("replicas %d (%s), strategy %s; want %d (%s), %s", plan.Replicas, plan.ReplicasReason, plan.Strategy, test.want.Replicas, test.want.ReplicasReason, test.want.Strategy)
			}
			if (plan.Claim != nil) != test.creates {
				t.Errorf("writes a claim: %t, want %t", plan.Claim != nil, test.creates)
			}
		})
	}
}

// Behaviour 18.
func TestRemoveClaimAsksForProof(t *testing.T) {
	here := registryv1.PVCStorage{Claim: "data"}
	managed := &registryv1.StorageSpec{ManagementState: registryv1.Managed, PVC: &here}
	spec := func(state registryv1.ManagementState) registryv1.StorageSpec {
		return registryv1.StorageSpec{ManagementState: state, PVC: &here}
	}
	s3 := registryv1.StorageSpec{ManagementState: registryv1.Managed, S3: &registryv1.S3Storage{Bucket: "b"}}
	both := spec(registryv1.Managed)
	both.S3 = s3.S3
	for _, test := range []struct {
		name      string
		spec      registryv1.StorageSpec
		effective *registryv1.StorageSpec
		claim     *corev1.PersistentVolumeClaim
		want      bool
	}{
		{"own and managed", spec(registryv1.Managed), managed, claim(true), true},
		{"switched to Unmanaged in the same patch", spec(registryv1.Unmanaged), managed, claim(true), false},
		{"switched to a bucket in the same patch", s3, managed, claim(true), false},
		{"switched to another claim in the same patch", registryv1.StorageSpec{PVC: &registryv1.PVCStorage{Claim: "other"}}, managed, claim(true), false},
		{"no place named any more", registryv1.StorageSpec{ManagementState: registryv1.Managed}, managed, claim(true), false},
		{"two places named", both, managed, claim(true), false},
		{"not owned", spec(registryv1.Managed), managed, claim(false), false},
		{"a copied mark", spec(registryv1.Managed), managed, copied(), false},
		{"was Unmanaged", spec(registryv1.Managed), &registryv1.StorageSpec{ManagementState: registryv1.Unmanaged, PVC: &here}, claim(true), false},
		{"never used", spec(registryv1.Managed), nil, claim(true), false},
		{"gone", spec(registryv1.Managed), managed, nil, false},
	} {
		if got := RemoveClaim(test.spec, test.effective, test.claim); got != test.want {
			t.Errorf("%s: %t, want %t", test.name, got, test.want)
		}
	}
}

// A class cannot be changed, and to give it up is a change.
func TestAnExistingClaimKeepsItsClass(t *testing.T) {
	for _, test := range []struct {
		name, spec, want string
		owned            bool
	}{
		{"taken out of the spec", "", "fast", true},
		{"another one in the spec", "slow", "fast", true},
		{"filled in by the cluster", "", "", false},
	} {
		live := bound(claim(true, corev1.ReadWriteOnce), "fast")
		if !test.owned {
			live.ManagedFields[0].FieldsV1 = metav1.NewFieldsV1(`{"f:metadata":{"f:annotations":{"f:` + registryv1.OwnedAnnotation + `":{}}}}`)
		}
		config := &registryv1.Config{Spec: registryv1.ConfigSpec{Storage: registryv1.StorageSpec{PVC: &registryv1.PVCStorage{Claim: "data", StorageClassName: test.spec}}}}
		plan, err := Decide(config, Facts{Claim: live})
		if err != nil || plan.Claim == nil || plan.Claim.StorageClassName != test.want {
			t.Errorf("%s: %+v, error %v; want class %q", test.name, plan.Claim, err, test.want)
		}
	}
}
