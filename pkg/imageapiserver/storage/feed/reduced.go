package feed

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"image.alauda.io/registry/pkg/imageapiserver/storage/watchmap"
)

// pageSize is the number of objects that are in memory as a whole.
const pageSize = 500

// Sink takes what is left of the objects, by their names.
type Sink[V any] interface {
	Put(name string, value V)
	Delete(name string)
	// Replace takes the values of all objects that there are now.
	Replace(values map[string]V)
}

// Run lists and watches a store until the context ends, and comes back to a list only when the store no longer
// has the changes since the last event. Of each object reduce says what goes to the sink; one that it does not
// want in lists is left out of them, and comes by the watch alone. kind names the objects in messages, name the
// reader; values must not be changed by the sink.
func Run[O metav1.Object, V any](ctx context.Context, store Store, name, kind string, reduce func(O) (V, bool), sink Sink[V]) {
	source := New(store)
	reduced := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			page, err := cache.ToListerWithContext(source).ListWithContext(ctx, options)
			if err != nil {
				return nil, err
			}
			return reducePage(page, kind, reduce)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			events, err := cache.ToWatcherWithContext(source).WatchWithContext(ctx, options)
			if err != nil {
				return nil, err
			}
			return watchmap.New(events, func(event watch.Event) watch.Event {
				if object, ok := event.Object.(O); ok {
					value, _ := reduce(object)
					event.Object = newItem(object, value)
				}
				return event
			}), nil
		},
	}
	reflector := cache.NewReflectorWithOptions(listThenWatch{reduced}, &item[V]{}, filled[V]{sink, name}, cache.ReflectorOptions{
		Name: name, TypeDescription: kind,
	})
	reflector.WatchListPageSize = pageSize
	reflector.RunWithContext(ctx)
}

func reducePage[O metav1.Object, V any](page runtime.Object, kind string, reduce func(O) (V, bool)) (runtime.Object, error) {
	from, err := meta.ListAccessor(page)
	if err != nil {
		return nil, fmt.Errorf("the %s store returned a %T: %w", kind, page, err)
	}
	list := &metainternalversion.List{ListMeta: metav1.ListMeta{
		ResourceVersion: from.GetResourceVersion(), Continue: from.GetContinue(), RemainingItemCount: from.GetRemainingItemCount(),
	}}
	return list, meta.EachListItem(page, func(listed runtime.Object) error {
		object, ok := listed.(O)
		if !ok {
			return fmt.Errorf("the %s store listed a %T", kind, listed)
		}
		if value, wanted := reduce(object); wanted {
			list.Items = append(list.Items, newItem(object, value))
		}
		return nil
	})
}

// item carries a value through the reflector.
type item[V any] struct {
	metav1.TypeMeta
	metav1.ObjectMeta
	value V
}

func newItem[V any](object metav1.Object, value V) *item[V] {
	return &item[V]{ObjectMeta: metav1.ObjectMeta{Name: object.GetName(), ResourceVersion: object.GetResourceVersion()}, value: value}
}

// GetObjectKind implements runtime.Object.
func (i *item[V]) GetObjectKind() schema.ObjectKind { return &i.TypeMeta }

// DeepCopyObject implements runtime.Object; values are immutable.
func (i *item[V]) DeepCopyObject() runtime.Object {
	return &item[V]{TypeMeta: i.TypeMeta, ObjectMeta: *i.ObjectMeta.DeepCopy(), value: i.value}
}

// filled is what the reflector fills.
type filled[V any] struct {
	sink Sink[V]
	name string
}

// Add implements cache.ReflectorStore.
func (s filled[V]) Add(obj any) error {
	return s.take(obj, func(i *item[V]) { s.sink.Put(i.Name, i.value) })
}

// Update implements cache.ReflectorStore.
func (s filled[V]) Update(obj any) error { return s.Add(obj) }

// Delete implements cache.ReflectorStore.
func (s filled[V]) Delete(obj any) error {
	return s.take(obj, func(i *item[V]) { s.sink.Delete(i.Name) })
}

// Replace implements cache.ReflectorStore.
func (s filled[V]) Replace(objs []any, _ string) error {
	values := make(map[string]V, len(objs))
	for _, obj := range objs {
		if err := s.take(obj, func(i *item[V]) { values[i.Name] = i.value }); err != nil {
			return err
		}
	}
	s.sink.Replace(values)
	return nil
}

// Resync implements cache.ReflectorStore.
func (filled[V]) Resync() error { return nil }

func (s filled[V]) take(obj any, with func(*item[V])) error {
	found, ok := obj.(*item[V])
	if !ok {
		return fmt.Errorf("%s: unexpected %T", s.name, obj)
	}
	with(found)
	return nil
}
