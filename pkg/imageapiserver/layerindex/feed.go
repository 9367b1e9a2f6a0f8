package layerindex

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

// watchTimeout ends a watch that a broken connection may have silenced.
const watchTimeout = 30 * time.Minute

// Run lists and watches the Images until the context ends. It comes back to a list only when the
// storage no longer has the changes since the last event.
func (i *Index) Run(ctx context.Context) {
	ctx = request.WithNamespace(ctx, metav1.NamespaceNone)
	source := listThenWatch{&cache.ListWatch{
		ListWithContextFunc: func(_ context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return i.list(ctx, options)
		},
		WatchFuncWithContext: func(_ context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return i.watch(ctx, options)
		},
	}}
	reflector := cache.NewReflectorWithOptions(source, &entry{}, feed{i}, cache.ReflectorOptions{
		Name:            "layer-index",
		TypeDescription: "Image",
	})
	reflector.WatchListPageSize = 500
	reflector.RunWithContext(ctx)
}

// listThenWatch tells reflectors that the store does not send its state through a watch.
type listThenWatch struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported is asked by client-go.
func (listThenWatch) IsWatchListSemanticsUnSupported() bool { return true }

// list reads one page and reduces it at once, so that full Images of one page only are in memory.
func (i *Index) list(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	obj, err := i.images.List(ctx, &metainternalversion.ListOptions{
		Limit: options.Limit, Continue: options.Continue,
		ResourceVersion: options.ResourceVersion, ResourceVersionMatch: options.ResourceVersionMatch,
	})
	if err != nil {
		return nil, err
	}
	list, ok := obj.(*imageapi.ImageList)
	if !ok {
		return nil, fmt.Errorf("the Image store returned a %T", obj)
	}
	reduced := &entryList{ListMeta: list.ListMeta, Items: make([]entry, len(list.Items))}
	for n := range list.Items {
		reduced.Items[n] = *newEntry(&list.Items[n])
	}
	return reduced, nil
}

func (i *Index) watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	seconds := int64(watchTimeout / time.Second)
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	events, err := i.images.Watch(ctx, &metainternalversion.ListOptions{
		ResourceVersion: options.ResourceVersion, AllowWatchBookmarks: true, TimeoutSeconds: &seconds,
	})
	if err != nil {
		cancel()
		return nil, err
	}
	return watchmap.New(cancelled{events, cancel}, func(event watch.Event) watch.Event {
		if image, ok := event.Object.(*imageapi.Image); ok {
			event.Object = newEntry(image)
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

// feed is the store that the reflector fills: only the records are kept.
type feed struct{ index *Index }

func (f feed) Add(obj any) error    { return f.put(obj) }
func (f feed) Update(obj any) error { return f.put(obj) }

func (f feed) put(obj any) error {
	e, ok := obj.(*entry)
	if !ok {
		return fmt.Errorf("layer index: unexpected %T", obj)
	}
	f.index.mu.Lock()
	defer f.index.mu.Unlock()
	f.index.records[e.Name] = e.shared
	indexedImages.Set(float64(len(f.index.records)))
	return nil
}

func (f feed) Delete(obj any) error {
	e, ok := obj.(*entry)
	if !ok {
		return fmt.Errorf("layer index: unexpected %T", obj)
	}
	f.index.mu.Lock()
	defer f.index.mu.Unlock()
	delete(f.index.records, e.Name)
	indexedImages.Set(float64(len(f.index.records)))
	return nil
}

func (f feed) Replace(objs []any, _ string) error {
	records := make(map[string]shared, len(objs))
	for _, obj := range objs {
		e, ok := obj.(*entry)
		if !ok {
			return fmt.Errorf("layer index: unexpected %T", obj)
		}
		records[e.Name] = e.shared
	}
	f.index.mu.Lock()
	f.index.records = records
	f.index.mu.Unlock()
	indexedImages.Set(float64(len(records)))
	f.index.synced.Store(true)
	return nil
}

func (f feed) Resync() error { return nil }

// entry carries a record through the reflector.
type entry struct {
	metav1.TypeMeta
	metav1.ObjectMeta
	shared
}

func newEntry(image *imageapi.Image) *entry {
	reduced := reduce(image)
	return &entry{
		ObjectMeta: metav1.ObjectMeta{Name: reduced.record.Name, ResourceVersion: image.ResourceVersion},
		shared:     reduced,
	}
}

// GetObjectKind implements runtime.Object.
func (e *entry) GetObjectKind() schema.ObjectKind { return &e.TypeMeta }

// DeepCopyObject implements runtime.Object; records are immutable.
func (e *entry) DeepCopyObject() runtime.Object {
	return &entry{TypeMeta: e.TypeMeta, ObjectMeta: *e.ObjectMeta.DeepCopy(), shared: e.shared}
}

type entryList struct {
	metav1.TypeMeta
	metav1.ListMeta
	Items []entry
}

// GetObjectKind implements runtime.Object.
func (l *entryList) GetObjectKind() schema.ObjectKind { return &l.TypeMeta }

// DeepCopyObject implements runtime.Object.
func (l *entryList) DeepCopyObject() runtime.Object {
	return &entryList{TypeMeta: l.TypeMeta, ListMeta: *l.ListMeta.DeepCopy(), Items: append([]entry(nil), l.Items...)}
}
