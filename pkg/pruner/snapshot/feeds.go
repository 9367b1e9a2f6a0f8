package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"golang.org/x/sync/errgroup"

	"image.alauda.io/registry/pkg/pruner/objects"
	"image.alauda.io/registry/pkg/pruner/references"
	"image.alauda.io/registry/pkg/pruner/roots"
)

// Objects reads objects of custom kinds. Package objects has the one for clusters.
type Objects interface {
	List(ctx context.Context, resource schema.GroupVersionResource, namespace string, options metav1.ListOptions, visit func(map[string]any)) (objects.Page, error)
	Watch(ctx context.Context, resource schema.GroupVersionResource, namespace string, options metav1.ListOptions) (watch.Interface, error)
}

// feed is one source of references: a list, and the watch that goes on from its version.
type feed struct {
	// kind is the name as kubectl writes it, what adds the namespace if there is only one.
	kind, what string
	custom     bool
	optional   bool
	read       readFunc
	// watch is nil where changes cannot be followed.
	watch watchFunc
	add   func(runtime.Object) error
	// version is that of the last complete list.
	version string
}

// feeds are all sources of references of a cluster.
func (s Source) feeds(snap *Snapshot) []*feed {
	var all []*feed
	for _, root := range Roots() {
		add := func(object runtime.Object) error { return snap.Uses.AddObject(object, snap.ages) }
		name := schema.GroupResource{Group: root.Group, Resource: root.Resource}.String()
		all = append(all, &feed{kind: name, what: root.Resource, read: visiting(root.list(s.Kube), add), watch: root.watch(s.watching()), add: add})
	}
	for _, kind := range s.Custom {
		selections := kind.Selections
		if len(selections) == 0 {
			selections = []roots.Selection{{}}
		}
		for _, selection := range selections {
			namespaces := selection.Namespaces
			if len(namespaces) == 0 {
				namespaces = []string{metav1.NamespaceAll}
			}
			for _, namespace := range namespaces {
				all = append(all, s.feed(snap, kind, selection, namespace))
			}
		}
	}
	return all
}

// feed is the source of one custom kind.
func (s Source) feed(snap *Snapshot, kind roots.Kind, selection roots.Selection, namespace string) *feed {
	f := &feed{kind: kind.Name(), what: kind.Name(), custom: true, optional: !kind.Required}
	if namespace != metav1.NamespaceAll {
		f.what += " in namespace " + namespace
	}
	if kind.Unlistable != "" {
		f.read = func(context.Context, metav1.ListOptions) (page, error) { return page{}, errors.New(kind.Unlistable) }
		return f
	}
	visit := func(object map[string]any) {
		snap.Uses.AddCustom(references.Custom{Kind: kind.Kind, Object: object, Paths: selection.Paths})
	}
	f.read = func(ctx context.Context, options metav1.ListOptions) (page, error) {
		options.LabelSelector = selection.LabelSelector
		read, err := s.Objects.List(ctx, kind.GVR(), namespace, options, visit)
		return page{Page: read}, err
	}
	f.add = func(object runtime.Object) error {
		custom, ok := object.(*unstructured.Unstructured)
		if !ok {
			return fmt.Errorf("unexpected %T", object)
		}
		visit(custom.Object)
		return nil
	}
	if kind.Watchable {
		f.watch = func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.LabelSelector = selection.LabelSelector
			return s.Objects.Watch(ctx, kind.GVR(), namespace, options)
		}
	}
	return f
}

// list adds the references of all objects.
func (f *feed) list(ctx context.Context, pages pager) (int, error) {
	items, version, err := pages.whole(ctx, f.what, f.read, func() {})
	if err == nil {
		f.version = version
	}
	return items, err
}

// ReadRoots adds the references of all workloads as they are now. What was found before stays. The error
// names every kind that could not be listed.
func (s Source) ReadRoots(ctx context.Context, snap *Snapshot) error {
	snap.feeds = s.feeds(snap)
	return s.read(ctx, snap, snap.feeds)
}

func (s Source) read(ctx context.Context, snap *Snapshot, feeds []*feed) error {
	var mu sync.Mutex
	counts := map[string]int{}
	var failed, skipped []Unlisted
	pages := pager{clock: s.Clock, chunkSize: s.ChunkSize, progress: s.Progress}
	var group errgroup.Group
	group.SetLimit(parallelRoots)
	for _, f := range feeds {
		group.Go(func() error {
			items, err := f.list(ctx, pages)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && f.custom:
				counts[f.kind] += items
			case err == nil:
				counts[f.what] += items
			case f.optional && ctx.Err() == nil:
				skipped = append(skipped, Unlisted{Kind: f.kind, Custom: true, Err: err})
			default:
				failed = append(failed, Unlisted{Kind: f.kind, Custom: f.custom, Err: err})
			}
			return nil
		})
	}
	_ = group.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("list who uses images: %w", context.Cause(ctx))
	}
	byKind := func(a, b Unlisted) int { return strings.Compare(a.Kind, b.Kind) }
	slices.SortFunc(failed, byKind)
	slices.SortFunc(skipped, byKind)
	if len(failed) > 0 {
		return &UnlistedError{Kinds: failed}
	}
	for kind, count := range counts {
		snap.Roots[kind] = count
	}
	if len(skipped) > 0 {
		snap.Skipped = skipped
	}
	return nil
}

// Unlisted is a kind that could not be listed.
type Unlisted struct {
	// Kind as kubectl writes it.
	Kind string
	// Custom kinds can be left out.
	Custom bool
	Err    error
}

// UnlistedError tells that it is not known who uses images.
type UnlistedError struct{ Kinds []Unlisted }

// Error names every kind, what is wrong with it, and the remedies.
func (e *UnlistedError) Error() string {
	var reasons, leaveOut []string
	for _, unlisted := range e.Kinds {
		reasons = append(reasons, unlisted.Err.Error())
		if unlisted.Custom && !slices.Contains(leaveOut, "--exclude-root-kind="+unlisted.Kind) {
			leaveOut = append(leaveOut, "--exclude-root-kind="+unlisted.Kind)
		}
	}
	text := "objects that may use images cannot be listed: " + strings.Join(reasons, "; ")
	if len(leaveOut) == 0 {
		return text
	}
	return text + ". Grant the lists (`pruner roots -o rbac` prints the role), or leave the kinds out with " +
		strings.Join(leaveOut, " ") + ", in ImagePruner with spec.excludedRootKinds"
}

// Unwrap gives the single errors.
func (e *UnlistedError) Unwrap() []error {
	var all []error
	for _, unlisted := range e.Kinds {
		all = append(all, unlisted.Err)
	}
	return all
}
