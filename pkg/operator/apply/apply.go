package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"image.alauda.io/registry/pkg/operator/fault"
)

// Options are what the applier works with; every field without a note is required.
type Options struct {
	Client dynamic.Interface
	Cache  *Cache
	// FieldManager is the owner of the applied fields and the value of the managed-by label.
	FieldManager string
	// OwnedAnnotation marks objects that people see and that only then may be deleted.
	OwnedAnnotation string
	// LeaveAlone says of an object that exists that it is not to be applied; optional.
	LeaveAlone func(live *unstructured.Unstructured) bool
	// Again asks for another look after some time; optional.
	Again func(after time.Duration)
	// Clock defaults to the real one.
	Clock clock.PassiveClock
	// Event records a reason and a message; optional.
	Event func(eventType, reason, message string)
}

// Validate names the first field that is missing.
func (o Options) Validate() error {
	switch {
	case o.Client == nil || o.Cache == nil:
		return errors.New("apply: Client and Cache are required")
	case o.FieldManager == "" || o.OwnedAnnotation == "":
		return errors.New("apply: FieldManager and OwnedAnnotation are required")
	}
	return nil
}

// Applier writes and deletes objects. It is safe for use by several controllers.
type Applier struct {
	Options
	mu       sync.Mutex
	written  map[Ref]write
	contests contests
}

// write bridges the time until the cache has seen our own request.
type write struct {
	before string
	after  *unstructured.Unstructured
}

// New checks the options.
func New(o Options) (*Applier, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	return &Applier{Options: o, written: map[Ref]write{}, contests: contests{objects: map[Ref]*contest{}}}, nil
}

// RefOf names the object.
func RefOf(object *unstructured.Unstructured) Ref {
	return Ref{Kind: object.GetKind(), Namespace: object.GetNamespace(), Name: object.GetName()}
}

// Live returns the object as it is, nil when it does not exist. It must not be changed.
func (a *Applier) Live(ctx context.Context, ref Ref) (*unstructured.Unstructured, error) {
	if cached := a.Cache.Get(ref); cached != nil {
		return a.newer(ref, cached), nil
	}
	client, err := a.resource(ref)
	if err != nil {
		return nil, err
	}
	live, err := client.Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", ref, err)
	}
	return live, nil
}

func (a *Applier) newer(ref Ref, cached *unstructured.Unstructured) *unstructured.Unstructured {
	a.mu.Lock()
	defer a.mu.Unlock()
	last, ok := a.written[ref]
	if !ok {
		return cached
	}
	if cached.GetResourceVersion() == last.before {
		return last.after
	}
	delete(a.written, ref)
	return cached
}

func (a *Applier) resource(ref Ref) (dynamic.ResourceInterface, error) {
	kind, err := KindNamed(ref.Kind)
	if err != nil {
		return nil, err
	}
	if kind.Namespaced {
		return a.Client.Resource(kind.GVR()).Namespace(ref.Namespace), nil
	}
	return a.Client.Resource(kind.GVR()), nil
}

// Apply brings one object to the desired fields and returns it as it is afterwards, and whether a request
// was sent.
func (a *Applier) Apply(ctx context.Context, desired *unstructured.Unstructured) (*unstructured.Unstructured, bool, error) {
	kind, err := KindOf(desired.GroupVersionKind())
	if err != nil {
		return nil, false, fmt.Errorf("apply %s: %w", Describe(desired), err)
	}
	ref := RefOf(desired)
	live, err := a.Live(ctx, ref)
	if err != nil {
		return nil, false, err
	}
	before, reason := "", "it does not exist"
	if live != nil {
		if live.GetDeletionTimestamp() != nil {
			return live, false, fault.WaitingFor("%s to be gone before it is created again", ref)
		}
		if a.LeaveAlone != nil && a.LeaveAlone(live) {
			return live, false, nil
		}
		owned, err := Owned(live, a.FieldManager)
		if err != nil {
			return live, false, err
		}
		if reason = "it was not applied yet"; owned != nil {
			if reason = Difference(desired, owned); reason == "" {
				return live, false, nil
			}
		}
		if may, err := a.allowed(desired, live); err != nil || !may {
			return live, false, err
		}
		before = live.GetResourceVersion()
	}
	klog.FromContext(ctx).V(2).Info("Applying", "object", ref.String(), "because", reason)
	return a.send(ctx, kind, desired, live, before)
}

func (a *Applier) send(ctx context.Context, kind Kind, desired, live *unstructured.Unstructured, before string) (*unstructured.Unstructured, bool, error) {
	ref := RefOf(desired)
	client, err := a.resource(ref)
	if err != nil {
		return nil, false, err
	}
	after, err := client.Apply(ctx, ref.Name, desired, metav1.ApplyOptions{FieldManager: a.FieldManager, Force: true})
	if immutable(err) && kind.Recreate && live != nil {
		return a.recreate(ctx, ref, live)
	}
	if err != nil {
		return live, false, fmt.Errorf("apply %s: %w", ref, err)
	}
	changed := after.GetResourceVersion() != before
	if changed {
		a.noteApplied(desired, live == nil)
	}
	if before != "" {
		a.mu.Lock()
		a.written[ref] = write{before: before, after: after}
		a.mu.Unlock()
	}
	klog.FromContext(ctx).V(4).Info("Applied", "object", ref.String(), "changed", changed)
	return after, true, nil
}

func immutable(err error) bool {
	return apierrors.IsInvalid(err) && (strings.Contains(err.Error(), "immutable") || strings.Contains(err.Error(), "cannot change roleRef"))
}

// recreate removes an object whose immutable field has to change; the next sync creates it anew.
func (a *Applier) recreate(ctx context.Context, ref Ref, live *unstructured.Unstructured) (*unstructured.Unstructured, bool, error) {
	if err := a.remove(ctx, ref, live); err != nil {
		return live, false, err
	}
	if a.Event != nil {
		a.Event("Normal", "Recreated", fmt.Sprintf("%s is deleted and created again, because a field that cannot be changed has to change", ref))
	}
	return live, true, fault.WaitingFor("%s to be gone before it is created again", ref)
}

// Owns says whether the operator may delete the object.
func (a *Applier) Owns(object *unstructured.Unstructured) bool {
	return object.GetLabels()["app.kubernetes.io/managed-by"] == a.FieldManager || object.GetAnnotations()[a.OwnedAnnotation] == "true"
}

// Delete removes an object, a workload together with its Pods. It reports true once the object is gone. An
// object that does not exist or does not belong to the operator counts as gone. The cache decides about that:
// it holds everything that may be deleted.
func (a *Applier) Delete(ctx context.Context, ref Ref) (bool, error) {
	live := a.Cache.Get(ref)
	if live == nil || !a.Owns(live) {
		return true, nil
	}
	if live.GetDeletionTimestamp() != nil {
		return a.gone(ctx, ref)
	}
	if err := a.remove(ctx, ref, live); err != nil {
		return false, err
	}
	return a.gone(ctx, ref)
}

// gone asks the API server: the cache is behind our own request.
func (a *Applier) gone(ctx context.Context, ref Ref) (bool, error) {
	client, err := a.resource(ref)
	if err != nil {
		return false, err
	}
	_, err = client.Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", ref, err)
	}
	return false, nil
}

func (a *Applier) remove(ctx context.Context, ref Ref, live *unstructured.Unstructured) error {
	client, err := a.resource(ref)
	if err != nil {
		return err
	}
	a.contests.forget(ref)
	uid, propagation := live.GetUID(), metav1.DeletePropagationBackground
	if ref.Kind == "Deployment" || ref.Kind == "DaemonSet" {
		propagation = metav1.DeletePropagationForeground
	}
	err = client.Delete(ctx, ref.Name, metav1.DeleteOptions{
		PropagationPolicy: &propagation,
		Preconditions:     &metav1.Preconditions{UID: &uid},
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete %s: %w", ref, err)
	}
	klog.FromContext(ctx).V(2).Info("Deleted", "object", ref.String())
	return nil
}
