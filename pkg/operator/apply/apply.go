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
	// Corrected is told of every object that was put back; optional.
	Corrected func(ref Ref)
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
		if a.marked(desired) && !a.mayChange(live) {
			return live, false, fmt.Errorf("%s exists and was not made by the operator; it is left as it is", ref)
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
		before = live.GetResourceVersion()
	}
	if may, err := a.allowed(desired, live); err != nil || !may {
		return live, false, err
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
	after, err := a.request(ctx, client, desired, live)
	if immutable(err) && kind.Recreate && live != nil {
		return a.recreate(ctx, ref, live)
	}
	if err != nil {
		return live, false, fmt.Errorf("apply %s: %w", ref, err)
	}
	changed := after.GetResourceVersion() != before
	if changed {
		a.noteApplied(desired, live)
	}
	a.remember(ref, before, after)
	klog.FromContext(ctx).V(4).Info("Applied", "object", ref.String(), "changed", changed)
	return after, true, nil
}

// request applies. An object that people see is never taken over, not even when it appears at this very
// moment: it is created as new, and changed only as the object that was looked at.
func (a *Applier) request(ctx context.Context, client dynamic.ResourceInterface, desired, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if a.marked(desired) {
		if live == nil {
			return client.Create(ctx, desired, metav1.CreateOptions{FieldManager: a.FieldManager})
		}
		if err := a.adopt(ctx, client, live); err != nil {
			return nil, err
		}
		desired = desired.DeepCopy()
		desired.SetUID(live.GetUID())
	}
	return client.Apply(ctx, desired.GetName(), desired, metav1.ApplyOptions{FieldManager: a.FieldManager, Force: true})
}

// marked says whether the object carries the mark of those that people see.
func (a *Applier) marked(object *unstructured.Unstructured) bool {
	return object.GetAnnotations()[a.OwnedAnnotation] == "true"
}

// mayChange says whether a live object may be changed into one that people see. To change a claim is to take it
// over, and a claim that was taken over would go with the registry: of it the mark alone is not enough.
func (a *Applier) mayChange(live *unstructured.Unstructured) bool {
	if live.GetKind() == "PersistentVolumeClaim" {
		return WroteMark(live, a.FieldManager, a.OwnedAnnotation)
	}
	return a.marked(live)
}

// immutable says whether nothing but fields that cannot be changed stands against the request. The causes
// tell: a policy of the administrator may use the same words, and its refusal names no field.
func immutable(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	causes := status.Status().Details.Causes
	for _, cause := range causes {
		if cause.Field == "" || !strings.Contains(cause.Message, "immutable") && !strings.Contains(cause.Message, "cannot change roleRef") {
			return false
		}
	}
	return len(causes) > 0
}
