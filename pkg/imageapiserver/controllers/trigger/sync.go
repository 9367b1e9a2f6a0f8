package trigger

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"image.alauda.io/api/image/tags"
	imagev1 "image.alauda.io/api/image/v1"
)

// Reasons of Events.
const (
	reasonInvalid   = "InvalidImageTrigger"
	reasonConflict  = "ImageTriggerConflict"
	reasonForbidden = "ImageTriggerForbidden"
)

// refusalsTolerated refusals in a row are taken for a race with somebody who changes the object; one more, and
// it is taken for a rule of the cluster.
const refusalsTolerated = 5

// maxEventText is what the API server takes as the text of an Event, with some room.
const maxEventText = 1000

// annotationPointer is where the triggers stand.
var annotationPointer = "/metadata/annotations/" + strings.ReplaceAll(imagev1.TriggersAnnotation, "/", "~1")

// update is one container that gets another image.
type update struct {
	tags.Field
	reference string
}

// sync brings one workload up to date. It returns when to look again without being asked, 0 for never; an
// error is tried again soon.
func (t *term) sync(ctx context.Context, w workload) (time.Duration, error) {
	live, err := t.Workloads.Resource(kinds[w.kind]).Namespace(w.namespace).Get(ctx, w.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	if apierrors.IsForbidden(err) {
		return forbiddenBackoff, nil // There is no object to tell it on.
	}
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", w, err)
	}
	annotation := live.GetAnnotations()[imagev1.TriggersAnnotation]
	if annotation == "" || live.GetDeletionTimestamp() != nil {
		return 0, nil
	}
	triggers, err := tags.ParseTriggers(annotation)
	if err != nil {
		t.tell(live, w, reasonInvalid, []error{err})
		return 0, nil
	}
	fields, problems := tags.PlanTriggers(w.kind, w.namespace, podSpec(live, w.kind), triggers)
	updates, denied, err := t.updates(ctx, w, fields)
	if err != nil {
		return 0, err
	}
	t.tell(live, w, reasonInvalid, append(problems, denied...))
	var again time.Duration
	if len(denied) > 0 {
		again = answerLife // The right may be given any time.
	}
	updates, wait := t.permitted(live, w, updates)
	if again == 0 || wait > 0 && wait < again {
		again = wait
	}
	if len(updates) == 0 {
		return again, nil
	}
	wait, err = t.patch(ctx, live, w, updates)
	if again == 0 || wait > 0 && wait < again {
		again = wait
	}
	return again, err
}

// updates finds the containers whose tag says something else than what they run.
func (t *term) updates(ctx context.Context, w workload, fields []tags.Field) (updates []update, denied []error, err error) {
	for _, field := range fields {
		from := stream{field.From.Namespace, field.From.Stream}
		if from.namespace != w.namespace {
			// Asked before the stream is looked up, so that nobody learns whether it exists.
			allowed, err := t.access.mayPull(ctx, w.namespace, from)
			if err != nil {
				return nil, nil, err
			}
			if !allowed {
				denied = append(denied, fmt.Errorf("field %q: the ServiceAccounts of namespace %s may not pull from image stream %s/%s: get imagestreams/layers is needed there",
					field.Path, w.namespace, from.namespace, from.name))
				continue
			}
		}
		s, found := t.streams.Get(from.namespace, from.name)
		if !found {
			continue
		}
		if reference, found := pullSpec(s, field.From.Tag); found && reference != field.Image {
			updates = append(updates, update{field, reference})
		}
	}
	return updates, denied, nil
}

// permitted leaves out what something keeps reverting, and says when to try that again.
func (t *term) permitted(live *unstructured.Unstructured, w workload, updates []update) (permitted []update, wait time.Duration) {
	for _, u := range updates {
		v := t.guard.ask(w, u.Pointer(), u.reference, t.Clock.Now())
		if v.begins {
			t.Events.Eventf(live, corev1.EventTypeWarning, reasonConflict,
				"container %q was set to %s %d times within %s, and something keeps changing it back to %s; the next attempt is in an hour. Take the image out of what manages this object, or remove the trigger",
				u.Container, u.reference, revertsTolerated, revertWindow, u.Image)
			updatesTotal.WithLabelValues(w.kind, resultConflict).Inc()
		}
		if v.wait > 0 {
			if wait == 0 || v.wait < wait {
				wait = v.wait
			}
			continue
		}
		permitted = append(permitted, u)
	}
	return permitted, wait
}

// patch changes all containers in one request.
func (t *term) patch(ctx context.Context, live *unstructured.Unstructured, w workload, updates []update) (time.Duration, error) {
	body, err := json.Marshal(operations(live.GetAnnotations()[imagev1.TriggersAnnotation], updates))
	if err != nil {
		return 0, fmt.Errorf("patch of %s: %w", w, err)
	}
	_, err = t.Workloads.Resource(kinds[w.kind]).Namespace(w.namespace).Patch(ctx, w.name, types.JSONPatchType, body,
		metav1.PatchOptions{FieldManager: FieldManager})
	switch {
	case apierrors.IsNotFound(err):
		return 0, nil
	case apierrors.IsForbidden(err), t.persists(w, err):
		updatesTotal.WithLabelValues(w.kind, resultForbidden).Inc()
		t.tell(live, w, reasonForbidden, []error{err})
		return forbiddenBackoff, nil
	case err != nil:
		updatesTotal.WithLabelValues(w.kind, resultFailed).Inc()
		return 0, fmt.Errorf("patch %s: %w", w, err)
	}
	updatesTotal.WithLabelValues(w.kind, resultUpdated).Inc()
	t.tell(live, w, reasonForbidden, nil)
	logger := klog.FromContext(ctx).V(2)
	for _, u := range updates {
		t.guard.patched(w, u.Pointer(), u.reference, t.Clock.Now())
		logger.Info("Container follows its tag", "workload", w.String(), "container", u.Container, "tag", u.From.String(), "image", u.reference)
	}
	return 0, nil
}

// persists tells whether admission refuses the patch again and again, which has the same codes as a patch that
// came too late.
func (t *term) persists(w workload, err error) bool {
	return (apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)) && t.queue.NumRequeues(w) >= refusalsTolerated
}

// operation is one of a JSON patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value string `json:"value"`
}

// operations change images, provided that the containers are still those that were read, and that the owner
// still wants it: he may have paused a trigger since.
func operations(annotation string, updates []update) []operation {
	all := []operation{{"test", annotationPointer, annotation}}
	for _, u := range updates {
		pointer := u.Pointer()
		all = append(all,
			operation{"test", pointer + "/name", u.Container},
			operation{"test", pointer + "/image", u.Image},
			operation{"replace", pointer + "/image", u.reference})
	}
	return all
}

// tell records problems as one Event, unless the last one said the same.
func (t *term) tell(live *unstructured.Unstructured, w workload, reason string, problems []error) {
	texts := make([]string, len(problems))
	for i, problem := range problems {
		texts[i] = problem.Error()
	}
	text := strings.Join(texts, "; ")
	if len(text) > maxEventText {
		text = strings.ToValidUTF8(text[:maxEventText], "") + "…"
	}
	if t.told.isNew(w, reason, text) && text != "" {
		t.Events.Event(live, corev1.EventTypeWarning, reason, text)
	}
}

// podSpec reads names and images of the containers.
func podSpec(live *unstructured.Unstructured, kind string) *corev1.PodSpec {
	path, _ := tags.PodSpecPath(kind)
	return &corev1.PodSpec{
		InitContainers: containers(live, path+".initContainers"),
		Containers:     containers(live, path+".containers"),
	}
}

func containers(live *unstructured.Unstructured, path string) []corev1.Container {
	list, _, _ := unstructured.NestedFieldNoCopy(live.Object, strings.Split(path, ".")...)
	items, _ := list.([]any)
	found := make([]corev1.Container, len(items))
	for i, item := range items {
		fields, _ := item.(map[string]any)
		found[i].Name, _ = fields["name"].(string)
		found[i].Image, _ = fields["image"].(string)
	}
	return found
}
