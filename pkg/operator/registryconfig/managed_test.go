package registryconfig

import (
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/pkg/operator/storage"
)

// Behaviour 52: a change of the storage counts once, however often the status could not be written.
func TestAChangeOfTheStorageCountsOnce(t *testing.T) {
	config := removedConfig("old")
	f := newFixture(t, config)
	var err error
	if f.Metrics, err = NewMetrics(prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	to := func(claim string) storage.Plan {
		return storage.Plan{Effective: registryv1.StorageSpec{PVC: &registryv1.PVCStorage{Claim: claim}}}
	}
	for _, step := range []struct {
		claim string
		want  float64
	}{{"old", 0}, {"new", 1}, {"new", 1}, {"other", 2}, {"new", 3}} {
		f.tellAboutStorage(config, to(step.claim))
		if got := testutil.ToFloat64(f.Metrics.reconfigured); got != step.want {
			t.Errorf("to %s: counted %v, want %v", step.claim, got, step.want)
		}
	}
}

// Behaviour 52: the lock compares with what runs. The status is written after the Deployment, or not at all.
func TestTheLockHoldsBeforeTheStatusIsWritten(t *testing.T) {
	to := func(claim string) storage.Plan {
		return storage.Plan{Effective: registryv1.StorageSpec{PVC: &registryv1.PVCStorage{Claim: claim}}}
	}
	for _, test := range []struct {
		name, status, runs, writer, to string
		unlocked, blocked              bool
	}{
		{name: "nothing runs yet", to: "new"},
		{name: "no status yet", runs: "PVC/old", to: "new", blocked: true},
		{name: "no status yet, the same place", runs: "PVC/old", to: "old"},
		{name: "no status yet, no lock", runs: "PVC/old", to: "new", unlocked: true},
		{name: "an old status", status: "older", runs: "PVC/old", to: "old"},
		{name: "back to an old status", status: "older", runs: "PVC/old", to: "older", blocked: true},
		{name: "no Deployment", status: "old", to: "new", blocked: true},
		{name: "a place that somebody wrote", status: "old", runs: "PVC/new", writer: "kubectl-edit", to: "old"},
		{name: "a place that somebody wrote does not open the lock", status: "old", runs: "PVC/new", writer: "kubectl-edit", to: "new", blocked: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := removedConfig(test.status)
			if !test.unlocked {
				config.Annotations = map[string]string{registryv1.StorageLockAnnotation: "true"}
			}
			deployment := ownedObject("apps/v1", "Deployment", "ns", registryv1.RegistryName)
			deployment.SetAnnotations(map[string]string{registryv1.StorageIdentityAnnotation: test.runs})
			writer := "m"
			if test.writer != "" {
				writer = test.writer
			}
			deployment.SetManagedFields([]metav1.ManagedFieldsEntry{{
				Manager: writer, Operation: metav1.ManagedFieldsOperationApply, APIVersion: "apps/v1", FieldsType: "FieldsV1",
				FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:annotations":{"f:` + registryv1.StorageIdentityAnnotation + `":{}}}}`),
			}})
			f := newFixture(t, config)
			if test.runs != "" {
				f = newFixture(t, config, deployment)
			}
			f.fill(t)
			running, err := f.Applier.Live(t.Context(), f.inNamespace("Deployment", registryv1.RegistryName))
			if err != nil {
				t.Fatal(err)
			}
			err = checkSwitch(config, f.placeInUse(config, running), to(test.to))
			if blocked := len(fault.Sort(err).Permanent) == 1; blocked != test.blocked || err != nil != test.blocked {
				t.Errorf("error %v, want it blocked: %t", err, test.blocked)
			}
		})
	}
}

// A claim that cannot grow, or not shrink, still serves: the registry is kept current on it.
func TestAClaimThatCannotBeChangedIsUsedAsItIs(t *testing.T) {
	claims := schema.GroupResource{Resource: "persistentvolumeclaims"}
	for name, test := range map[string]struct {
		err  error
		new  bool
		used bool
	}{
		"its class cannot expand": {apierrors.NewForbidden(claims, "data", errors.New("only dynamically provisioned pvc can be resized")), false, true},
		"a field is immutable":    {fault.Permanentf(registryv1.ReasonVerificationFailed, "spec is immutable"), false, true},
		"a quota refuses it":      {apierrors.NewForbidden(claims, "data", errors.New("exceeded quota")), true, false},
		"a time-out":              {apierrors.NewTimeoutError("later", 1), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			f, p := newFixture(t, removedConfig("data")), &pass{}
			p.fail(f.inNamespace("PersistentVolumeClaim", "data"), test.err)
			exists := storage.Existence{Status: registryv1.ConditionTrue, Reason: registryv1.ReasonPVCCreated}
			plan := storage.Plan{Claim: &storage.Claim{Name: "data"}, Exists: exists, Effective: registryv1.StorageSpec{PVC: &registryv1.PVCStorage{Claim: "data"}}}
			out := outcome{plan: &plan, storage: exists}
			if used := f.claimed(p, deployments{newClaim: test.new}, f.config(t), &out); used != test.used || (out.plan != nil) != test.used || p.err() == nil {
				t.Errorf("used %t, plan %v, fault %v", used, out.plan, p.err())
			}
			permanent := fault.Sort(p.err()).Permanent
			if test.used && (len(permanent) != 1 || permanent[0].Reason != registryv1.ReasonInvalidStorageConfiguration || out.storage != exists) {
				t.Errorf("fault %v, existence %v", p.err(), out.storage)
			}
		})
	}
}
