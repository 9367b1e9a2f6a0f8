package app

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/client-go/clientset/versioned"
	"image.alauda.io/registry/pkg/operator/pruner"
	"image.alauda.io/registry/pkg/operator/registryconfig"
)

// decoder turns an object as it is stored into one of the operator's kinds, whatever is in it.
type decoder func(*unstructured.Unstructured) (runtime.Object, error)

// readableConfig never fails: a Config that cannot be decoded is one that everybody leaves alone.
func readableConfig(object *unstructured.Unstructured) (runtime.Object, error) {
	config, _ := registryconfig.Readable(object) // the controller of Config reports it
	return config, nil
}

// readablePruner never fails: the controller of ImagePruner reads the object itself and reports it.
func readablePruner(object *unstructured.Unstructured) (runtime.Object, error) {
	decoded, _ := pruner.Readable(object)
	return decoded, nil
}

// tolerant makes an informer for the factory of the operator's kinds. One object with a word of the wrong type,
// stored under an older schema or by a restore, would otherwise fail every list of its kind: no cache of an
// operator that starts would ever be filled, and nobody would be told why.
func tolerant(client dynamic.Interface, resource string, kind runtime.Object, decode decoder) func(versioned.Interface, time.Duration) cache.SharedIndexInformer {
	return func(_ versioned.Interface, resync time.Duration) cache.SharedIndexInformer {
		objects := client.Resource(registryv1.SchemeGroupVersion.WithResource(resource))
		source := &cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
				list, err := objects.List(ctx, options)
				if err != nil {
					return nil, err
				}
				return decodeList(list, decode)
			},
			WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
				events, err := objects.Watch(ctx, options)
				if err != nil {
					return nil, err
				}
				return watch.Filter(events, func(event watch.Event) (watch.Event, bool) {
					object, ok := event.Object.(*unstructured.Unstructured)
					if !ok || event.Type == watch.Error {
						return event, true
					}
					decoded, err := decodeOne(object, decode)
					if err != nil {
						return event, false
					}
					event.Object = decoded
					return event, true
				}), nil
			},
		}
		return cache.NewSharedIndexInformer(source, kind, resync, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	}
}

// decodeOne leaves bookmarks as they are wanted: empty objects of the kind with a version.
func decodeOne(object *unstructured.Unstructured, decode decoder) (runtime.Object, error) {
	decoded, err := decode(object)
	if err != nil {
		return nil, fmt.Errorf("decode %s %s: %w", object.GetKind(), object.GetName(), err)
	}
	return decoded, nil
}

func decodeList(list *unstructured.UnstructuredList, decode decoder) (runtime.Object, error) {
	out := &singletonList{}
	out.SetResourceVersion(list.GetResourceVersion())
	out.Continue = list.GetContinue()
	for i := range list.Items {
		decoded, err := decodeOne(&list.Items[i], decode)
		if err != nil {
			return nil, err
		}
		out.Items = append(out.Items, decoded)
	}
	return out, nil
}

// singletonList is a list of objects of any kind.
type singletonList struct {
	metav1.TypeMeta
	metav1.ListMeta
	Items []runtime.Object
}

// GetObjectKind is empty: the list never leaves the process.
func (*singletonList) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject copies the list and its objects.
func (l *singletonList) DeepCopyObject() runtime.Object {
	out := &singletonList{TypeMeta: l.TypeMeta, ListMeta: *l.ListMeta.DeepCopy()}
	for _, item := range l.Items {
		out.Items = append(out.Items, item.DeepCopyObject())
	}
	return out
}
