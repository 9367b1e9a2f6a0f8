package apply

import (
	"context"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"
)

const (
	manager = "me"
	mark    = "example.com/owned"
)

// bench is an applier whose cache is filled by hand: it is as far behind as the test wants.
type bench struct {
	*Applier
	client *dynamicfake.FakeDynamicClient
	clock  *clocktesting.FakeClock
}

func newBench(t *testing.T, objects ...runtime.Object) *bench {
	t.Helper()
	b := &bench{client: dynamicfake.NewSimpleDynamicClient(runtime.NewScheme(), objects...), clock: clocktesting.NewFakeClock(time.Unix(1e9, 0))}
	var err error
	b.Applier, err = New(Options{Client: b.client, Cache: NewCache(b.client, "ns", "x=y", 0), FieldManager: manager, OwnedAnnotation: mark, Clock: b.clock})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// show puts an object into the cache.
func (b *bench) show(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	ref := RefOf(object)
	if err := b.Cache.informers[scope{ref.Kind, ref.Namespace}].GetIndexer().Add(object); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) verbs() []string {
	var out []string
	for _, action := range b.client.Actions() {
		if action.GetVerb() != "get" {
			out = append(out, action.GetVerb())
		}
	}
	b.client.ClearActions()
	return out
}

func object(apiVersion, kind, name, uid, version string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion(apiVersion)
	o.SetKind(kind)
	o.SetNamespace("ns")
	o.SetName(name)
	o.SetUID(types.UID(uid))
	o.SetResourceVersion(version)
	return o
}

func claim(uid string, marked bool) *unstructured.Unstructured {
	o := object("v1", "PersistentVolumeClaim", "data", uid, "")
	if marked {
		o.SetAnnotations(map[string]string{mark: "true"})
	}
	return o
}

// Behaviour 15: a claim of somebody else is never taken over, or it would be deleted with the registry.
func TestAnObjectThatPeopleSeeIsNeverTakenOver(t *testing.T) {
	ctx := context.Background()
	desired := claim("", true)

	t.Run("one that exists", func(t *testing.T) {
		b := newBench(t, claim("theirs", false))
		if _, sent, err := b.Apply(ctx, desired); err == nil || sent {
			t.Errorf("sent %t, error %v", sent, err)
		}
		if verbs := b.verbs(); len(verbs) != 0 {
			t.Errorf("requests %q", verbs)
		}
	})
	t.Run("one that appears at this moment", func(t *testing.T) {
		b := newBench(t)
		b.client.PrependReactor("create", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewAlreadyExists(schema.GroupResource{Resource: "persistentvolumeclaims"}, "data")
		})
		_, sent, err := b.Apply(ctx, desired)
		if !apierrors.IsAlreadyExists(err) || sent {
			t.Errorf("sent %t, error %v", sent, err)
		}
	})
	t.Run("one that takes the place of ours", func(t *testing.T) {
		b := newBench(t)
		b.show(t, writtenBy(claim("ours", true), manager, metav1.ManagedFieldsOperationApply, markField))
		desired := claim("", true)
		desired.SetLabels(map[string]string{"a": "b"})
		var body []byte
		b.client.PrependReactor("patch", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
			body = action.(clienttesting.PatchAction).GetPatch()
			return true, claim("ours", true), nil
		})
		if _, _, err := b.Apply(ctx, desired); err != nil {
			t.Fatal(err)
		}
		sent := &unstructured.Unstructured{}
		if err := sent.UnmarshalJSON(body); err != nil || sent.GetUID() != "ours" {
			t.Errorf("the request is not bound to the object that was looked at: uid %q, error %v", sent.GetUID(), err)
		}
	})
	t.Run("a new one is made", func(t *testing.T) {
		b := newBench(t)
		if _, sent, err := b.Apply(ctx, desired); err != nil || !sent {
			t.Errorf("sent %t, error %v", sent, err)
		}
		if verbs := b.verbs(); len(verbs) != 1 || verbs[0] != "create" {
			t.Errorf("requests %q", verbs)
		}
	})
}

func TestOwnershipSurvivesTheLossOfLabels(t *testing.T) {
	b := newBench(t)
	applied := object("apps/v1", "Deployment", "d", "1", "1")
	applied.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: manager, Operation: metav1.ManagedFieldsOperationApply}})
	foreign := object("apps/v1", "Deployment", "d", "1", "1")
	foreign.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "somebody", Operation: metav1.ManagedFieldsOperationApply}})
	if !b.Owns(applied) || b.Owns(foreign) {
		t.Errorf("owns what was applied: %t; what was not: %t", b.Owns(applied), b.Owns(foreign))
	}
}

// An object that was created a moment ago is deleted although the cache does not show it: what comes after it
// in the order of removal relies on that.
func TestWhatTheCacheDoesNotShowYetIsDeletedToo(t *testing.T) {
	ctx := context.Background()
	b := newBench(t)
	desired := object("apps/v1", "Deployment", "d", "", "")
	desired.SetLabels(map[string]string{"app.kubernetes.io/managed-by": manager})
	created := object("apps/v1", "Deployment", "d", "1", "7")
	created.SetLabels(desired.GetLabels())
	b.client.PrependReactor("patch", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, created, b.client.Tracker().Add(created)
	})
	if _, _, err := b.Apply(ctx, desired); err != nil {
		t.Fatal(err)
	}
	b.verbs()
	if gone, err := b.Delete(ctx, RefOf(desired)); err != nil || !gone {
		t.Errorf("gone %t, error %v", gone, err)
	}
	if verbs := b.verbs(); len(verbs) != 1 || verbs[0] != "delete" {
		t.Errorf("requests %q, want one deletion", verbs)
	}
	if gone, err := b.Delete(ctx, RefOf(desired)); err != nil || !gone || len(b.verbs()) != 0 {
		t.Errorf("a second time: gone %t, error %v", gone, err)
	}
}

func TestOwnRequestsHideACacheThatLags(t *testing.T) {
	b := newBench(t)
	ref := Ref{Kind: "Deployment", Namespace: "ns", Name: "d"}
	at := func(version string) *unstructured.Unstructured {
		return object("apps/v1", "Deployment", "d", "1", version)
	}
	b.remember(ref, "10", at("12"))
	for _, step := range []struct {
		cached, want string
		after        time.Duration
	}{
		{"10", "12", 0}, {"11", "12", 0}, {"12", "12", 0}, {"11", "11", 0}, // seen: from here on the cache counts
	} {
		if got := b.newer(ref, at(step.cached)).GetResourceVersion(); got != step.want {
			t.Errorf("cache at %s: %s, want %s", step.cached, got, step.want)
		}
	}
	// An API server that was restored counts from an earlier number for ever.
	b.remember(ref, "10", at("12"))
	b.clock.Step(bridge)
	if got := b.newer(ref, at("5")).GetResourceVersion(); got != "5" {
		t.Errorf("after a minute: %s, want what the cache holds", got)
	}
}

// A policy of the administrator that speaks of immutable fields must not make the operator delete a workload.
func TestOnlyTheAPIItselfMakesAFieldImmutable(t *testing.T) {
	kind := schema.GroupKind{Group: "apps", Kind: "Deployment"}
	refused := func(errs ...*field.Error) error { return apierrors.NewInvalid(kind, "d", errs) }
	path := field.NewPath("spec", "selector")
	policy := apierrors.NewForbidden(schema.GroupResource{Resource: "deployments"}, "d", nil)
	policy.ErrStatus.Reason, policy.ErrStatus.Code = metav1.StatusReasonInvalid, 422
	policy.ErrStatus.Message = "policy denied request: label team is immutable"
	policy.ErrStatus.Details.Causes = []metav1.StatusCause{{Message: "label team is immutable"}}
	for _, test := range []struct {
		name string
		err  error
		want bool
	}{
		{"selector", refused(field.Invalid(path, "x", "field is immutable")), true},
		{"role", refused(field.Invalid(field.NewPath("roleRef"), "x", "cannot change roleRef")), true},
		{"something else besides", refused(field.Invalid(path, "x", "field is immutable"), field.Required(path, "")), false},
		{"a policy", policy, false},
		{"another fault", apierrors.NewConflict(schema.GroupResource{}, "d", nil), false},
	} {
		if got := immutable(test.err); got != test.want {
			t.Errorf("%s: %t, want %t", test.name, got, test.want)
		}
	}
}

func TestAStatusWriteIsNoNews(t *testing.T) {
	base := func(change func(*unstructured.Unstructured)) *unstructured.Unstructured {
		o := object("v1", "Config", "cluster", "1", "1")
		o.SetGeneration(3)
		change(o)
		return o
	}
	before := base(func(*unstructured.Unstructured) {})
	now := metav1.Now()
	for name, test := range map[string]struct {
		change func(*unstructured.Unstructured)
		want   bool
	}{
		"status":     {func(o *unstructured.Unstructured) { o.SetResourceVersion("2") }, true},
		"spec":       {func(o *unstructured.Unstructured) { o.SetGeneration(4) }, false},
		"annotation": {func(o *unstructured.Unstructured) { o.SetAnnotations(map[string]string{"a": "b"}) }, false},
		"finalizer":  {func(o *unstructured.Unstructured) { o.SetFinalizers([]string{"f"}) }, false},
		"deletion":   {func(o *unstructured.Unstructured) { o.SetDeletionTimestamp(&now) }, false},
		"another":    {func(o *unstructured.Unstructured) { o.SetUID("2") }, false},
	} {
		if got := StatusOnly(before, base(test.change)); got != test.want {
			t.Errorf("%s: %t, want %t", name, got, test.want)
		}
	}
	if StatusOnly(nil, before) || StatusOnly("x", "y") {
		t.Error("what is no object counts as a status write")
	}
}
