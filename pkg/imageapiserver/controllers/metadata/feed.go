package metadata

import (
	"context"
	"fmt"
	"time"

	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/tools/cache"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/storage/watchmap"
)

const (
	// watchTimeout ends a watch that a broken connection may have silenced.
	watchTimeout = 30 * time.Minute
	pageSize     = 500
)

// follow calls found with the name of each Image that is incomplete, now and later, until the context ends. It
// keeps no Images: of those that are read, only the name and the answer are passed on.
func follow(ctx context.Context, images Images, found func(name string)) {
	ctx = request.WithNamespace(ctx, metav1.NamespaceNone)
	source := listThenWatch{&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return list(request.WithNamespace(ctx, metav1.NamespaceNone), images, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return watchFrom(request.WithNamespace(ctx, metav1.NamespaceNone), images, options)
		},
	}}
	reflector := cache.NewReflectorWithOptions(source, &reduced{}, sink(found), cache.ReflectorOptions{
		Name: "image-metadata", TypeDescription: "Image",
	})
	reflector.WatchListPageSize = pageSize
	reflector.RunWithContext(ctx)
}

// listThenWatch tells reflectors that the store does not send its state through a watch.
type listThenWatch struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported is asked by client-go.
func (listThenWatch) IsWatchListSemanticsUnSupported() bool { return true }

func list(ctx context.Context, images Images, options metav1.ListOptions) (runtime.Object, error) {
	obj, err := images.List(ctx, &metainternalversion.ListOptions{
		Limit: options.Limit, Continue: options.Continue,
		ResourceVersion: options.ResourceVersion, ResourceVersionMatch: options.ResourceVersionMatch,
	})
	if err != nil {
		return nil, err
	}
	page, ok := obj.(*imageapi.ImageList)
	if !ok {
		return nil, fmt.Errorf("the Image store returned a %T", obj)
	}
	names := &reducedList{ListMeta: page.ListMeta}
	for i := range page.Items {
		if Incomplete(&page.Items[i]) {
			names.Items = append(names.Items, *reduce(&page.Items[i]))
		}
	}
	return names, nil
}

func watchFrom(ctx context.Context, images Images, options metav1.ListOptions) (watch.Interface, error) {
	seconds := int64(watchTimeout / time.Second)
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	events, err := images.Watch(ctx, &metainternalversion.ListOptions{
		ResourceVersion: options.ResourceVersion, AllowWatchBookmarks: true, TimeoutSeconds: &seconds,
	})
	if err != nil {
		cancel()
		return nil, err
	}
	return watchmap.New(cancelled{events, cancel}, func(event watch.Event) watch.Event {
		if image, ok := event.Object.(*imageapi.Image); ok {
			event.Object = reduce(image)
		}
		return event
	}), nil
}

// cancelled releases the context of a watch when it is stopped.
type cancelled struct {
	watch.Interface
	cancel context.CancelFunc
}

// Stop implements watch.Interface.
func (c cancelled) Stop() {
	c.cancel()
	c.Interface.Stop()
}

// sink passes on the names of incomplete Images and keeps nothing.
type sink func(name string)

// Add implements cache.ReflectorStore.
func (s sink) Add(obj any) error { return s.put(obj) }

// Update implements cache.ReflectorStore.
func (s sink) Update(obj any) error { return s.put(obj) }

// Delete implements cache.ReflectorStore.
func (sink) Delete(any) error { return nil }

// Resync implements cache.ReflectorStore.
func (sink) Resync() error { return nil }

// Replace implements cache.ReflectorStore.
func (s sink) Replace(objs []any, _ string) error {
	for _, obj := range objs {
		if err := s.put(obj); err != nil {
			return err
		}
	}
	return nil
}

func (s sink) put(obj any) error {
	image, ok := obj.(*reduced)
	if !ok {
		return fmt.Errorf("image metadata: unexpected %T", obj)
	}
	if image.incomplete {
		s(image.Name)
	}
	return nil
}

// reduced carries through the reflector what is needed of an Image.
type reduced struct {
	metav1.TypeMeta
	metav1.ObjectMeta
	incomplete bool
}

func reduce(image *imageapi.Image) *reduced {
	return &reduced{
		ObjectMeta: metav1.ObjectMeta{Name: image.Name, ResourceVersion: image.ResourceVersion}, incomplete: Incomplete(image),
	}
}

// GetObjectKind implements runtime.Object.
func (r *reduced) GetObjectKind() schema.ObjectKind { return &r.TypeMeta }

// DeepCopyObject implements runtime.Object.
func (r *reduced) DeepCopyObject() runtime.Object {
	return &reduced{TypeMeta: r.TypeMeta, ObjectMeta: *r.ObjectMeta.DeepCopy(), incomplete: r.incomplete}
}

type reducedList struct {
	metav1.TypeMeta
	metav1.ListMeta
	Items []reduced
}

// GetObjectKind implements runtime.Object.
func (l *reducedList) GetObjectKind() schema.ObjectKind { return &l.TypeMeta }

// DeepCopyObject implements runtime.Object.
func (l *reducedList) DeepCopyObject() runtime.Object {
	return &reducedList{TypeMeta: l.TypeMeta, ListMeta: *l.ListMeta.DeepCopy(), Items: append([]reduced(nil), l.Items...)}
}
