package snapshot

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	kubefake "k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	imagefake "image.alauda.io/client-go/clientset/versioned/fake"
	"image.alauda.io/registry/pkg/pruner/objects"
	"image.alauda.io/registry/pkg/pruner/references"
	"image.alauda.io/registry/pkg/pruner/roots"
)

// widgets is a custom kind whose list and watch the test decides.
type widgets struct {
	lists   atomic.Int64
	refuse  atomic.Bool
	image   atomic.Pointer[string]
	watches chan watch.Interface
	problem error
}

func (w *widgets) List(_ context.Context, _ schema.GroupVersionResource, _ string, _ metav1.ListOptions, visit func(map[string]any)) (objects.Page, error) {
	w.lists.Add(1)
	if w.refuse.Load() {
		return objects.Page{}, apierrors.NewForbidden(schema.GroupResource{Resource: "widgets"}, "", nil)
	}
	if image := w.image.Load(); image != nil {
		visit(widget(*image).Object)
	}
	return objects.Page{ResourceVersion: "5", Items: 1}, nil
}

func (w *widgets) Watch(ctx context.Context, _ schema.GroupVersionResource, _ string, _ metav1.ListOptions) (watch.Interface, error) {
	if w.problem != nil {
		return nil, w.problem
	}
	select {
	case next := <-w.watches:
		return next, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func widget(image string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1", "kind": "Widget",
		"metadata": map[string]any{"namespace": "ns", "name": "w", "resourceVersion": "9"},
		"spec":     map[string]any{"image": image},
	}}
}

func digestOf(letter string) string { return "sha256:" + strings.Repeat(letter, 64) }

func using(letter string) string { return "quay.io/team/app@" + digestOf(letter) }

// watched is a snapshot of a cluster with Pods and widgets, and its watches.
func watched(t *testing.T, w *widgets, kind roots.Kind) (*kubefake.Clientset, Source, *Snapshot) {
	t.Helper()
	kube := kubefake.NewClientset()
	source := Source{Kube: kube, Image: imagefake.NewClientset(), Clock: newWaits(), ChunkSize: 10, Custom: []roots.Kind{kind}, Objects: w}
	snap, err := source.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return kube, source, snap
}

func widgetKind() roots.Kind {
	return roots.Kind{Group: "example.com", Version: "v1", Resource: "widgets", Kind: "Widget", Required: true, Watchable: true}
}

// eventually waits until the digest is in use.
func eventually(t *testing.T, uses *references.Index, letter string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; {
		if _, used := uses.AnyDigestUser(digestOf(letter)); used {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s is not in use after 30 s", letter)
		}
		time.Sleep(time.Millisecond)
	}
}

// Behaviour 23.
func TestWhatAppearsDuringTheRunCounts(t *testing.T) {
	w := &widgets{watches: make(chan watch.Interface, 1)}
	events := watch.NewFake()
	w.watches <- events
	kube, source, snap := watched(t, w, widgetKind())
	watches := source.Watch(t.Context(), snap)
	defer watches.Stop()
	if err := watches.Current(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := watches.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: using("a")}}}}
	if _, err := kube.CoreV1().Pods("ns").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	events.Add(widget(using("b")))
	events.Modify(widget(using("c")))
	eventually(t, snap.Uses, "a")
	eventually(t, snap.Uses, "c")
	events.Delete(widget(using("b")))
	events.Action(watch.Bookmark, widget(using("d")))
	events.Add(widget(using("e")))
	eventually(t, snap.Uses, "e")
	if _, used := snap.Uses.AnyDigestUser(digestOf("b")); !used {
		t.Error("a reference was taken away")
	}
	if w.lists.Load() != 1 {
		t.Errorf("%d lists although the watch goes on", w.lists.Load())
	}
}

// Behaviour 23: a watch whose version is forgotten, and one that breaks, read the list again; decisions wait
// for that.
func TestBrokenWatchesListAgain(t *testing.T) {
	w := &widgets{watches: make(chan watch.Interface, 1)}
	first := watch.NewFake()
	w.watches <- first
	_, source, snap := watched(t, w, widgetKind())
	watches := source.Watch(t.Context(), snap)
	defer watches.Stop()
	if err := watches.Current(t.Context()); err != nil {
		t.Fatal(err)
	}
	image := using("a")
	w.image.Store(&image)
	status := apierrors.NewResourceExpired("too old").Status()
	first.Error(&status)
	eventually(t, snap.Uses, "a")
	soon, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := watches.Current(soon); err == nil || !strings.Contains(err.Error(), "widgets.example.com") {
		t.Errorf("a decision is made without the watch: %v", err)
	}
	before := w.lists.Load()
	if err := watches.Settle(t.Context()); err != nil || w.lists.Load() == before {
		t.Errorf("before images go nothing was read again: %v", err)
	}
	second := watch.NewFake()
	w.watches <- second
	if err := watches.Current(t.Context()); err != nil {
		t.Errorf("after the watch is back: %v", err)
	}
	second.Add(widget(using("b")))
	eventually(t, snap.Uses, "b")
	lists := w.lists.Load()
	second.Stop()
	third := watch.NewFake()
	w.watches <- third
	third.Add(widget(using("c")))
	eventually(t, snap.Uses, "c")
	if w.lists.Load() != lists {
		t.Error("a watch that the server ended in order made the list be read again")
	}
}

// Behaviour 23: who may only list has his lists read again before images go.
func TestKindsThatCannotBeWatchedAreListedAgain(t *testing.T) {
	unwatchable := widgetKind()
	unwatchable.Watchable = false
	for name, test := range map[string]struct {
		problem error
		kind    roots.Kind
	}{
		"forbidden":    {apierrors.NewForbidden(schema.GroupResource{Resource: "widgets"}, "", nil), widgetKind()},
		"not offered":  {apierrors.NewMethodNotSupported(schema.GroupResource{Resource: "widgets"}, "watch"), widgetKind()},
		"without verb": {errors.New("not to be asked"), unwatchable},
	} {
		t.Run(name, func(t *testing.T) {
			w := &widgets{problem: test.problem}
			_, source, snap := watched(t, w, test.kind)
			watches := source.Watch(t.Context(), snap)
			defer watches.Stop()
			if err := watches.Current(t.Context()); err != nil {
				t.Fatal(err)
			}
			image := using("a")
			w.image.Store(&image)
			if err := watches.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, used := snap.Uses.AnyDigestUser(digestOf("a")); !used {
				t.Error("the list was not read again")
			}
			w.refuse.Store(true)
			var unlisted *UnlistedError
			if err := watches.Settle(t.Context()); !errors.As(err, &unlisted) {
				t.Errorf("a list that fails before images go: %v", err)
			}
		})
	}
}

func TestWatchesEndWithTheRun(t *testing.T) {
	w := &widgets{watches: make(chan watch.Interface, 1)}
	events := watch.NewFake()
	w.watches <- events
	kube, source, snap := watched(t, w, widgetKind())
	ctx, cancel := context.WithCancel(t.Context())
	watches := source.Watch(ctx, snap)
	if err := watches.Current(t.Context()); err != nil {
		t.Fatal(err)
	}
	cancel()
	watches.Stop()
	if !events.IsStopped() {
		t.Error("a watch goes on")
	}
	if n := len(kube.Actions()); n == 0 {
		t.Error("nothing was watched")
	}
}

// A kind that is refused does not keep the others from being asked: the error names all.
func TestAllKindsThatCannotBeListedAreNamed(t *testing.T) {
	w := &widgets{}
	w.refuse.Store(true)
	kube := kubefake.NewClientset()
	kube.PrependReactor("list", "jobs", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "jobs"}, "", nil)
	})
	optional := widgetKind()
	optional.Resource, optional.Required = "extras", false
	source := Source{Kube: kube, Image: imagefake.NewClientset(), Clock: newWaits(), ChunkSize: 10, Custom: []roots.Kind{widgetKind(), optional}, Objects: w}
	_, err := source.Take(t.Context())
	var unlisted *UnlistedError
	if !errors.As(err, &unlisted) || len(unlisted.Kinds) != 2 || unlisted.Kinds[0].Kind != "jobs.batch" || unlisted.Kinds[1].Kind != "widgets.example.com" {
		t.Fatalf("%v", err)
	}
	for _, want := range []string{"list jobs:", "list widgets.example.com:", "--exclude-root-kind=widgets.example.com", "pruner roots -o rbac"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "--exclude-root-kind=jobs") || strings.Contains(err.Error(), "extras") {
		t.Errorf("%q offers what is not possible", err)
	}
}
