package monitoring

import (
	"context"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// watches follow the definitions for ever, and the objects of a kind while it is served.
type watches struct {
	client    dynamic.Interface
	namespace string
	changed   func()

	defined map[string]cache.SharedIndexInformer
	mu      sync.Mutex
	objects map[string]*objectWatch
}

// objectWatch is the watch of one kind, with the means to end it.
type objectWatch struct {
	informer cache.SharedIndexInformer
	stop     context.CancelFunc
	done     sync.WaitGroup
}

func newWatches(client dynamic.Interface, namespace string, changed func()) (*watches, error) {
	w := &watches{client: client, namespace: namespace, changed: changed,
		defined: map[string]cache.SharedIndexInformer{}, objects: map[string]*objectWatch{}}
	for _, k := range kinds() {
		// One name each: the definitions of a cluster are many and large.
		informer := dynamicinformer.NewFilteredDynamicInformer(client, definitions, metav1.NamespaceAll, 0, cache.Indexers{}, func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, k.definition()).String()
		}).Informer()
		if err := informer.SetTransform(outline); err != nil {
			return nil, fmt.Errorf("monitoring: watch %s: %w", k.definition(), err)
		}
		if err := w.listen(informer); err != nil {
			return nil, fmt.Errorf("monitoring: watch %s: %w", k.definition(), err)
		}
		w.defined[k.name] = informer
	}
	return w, nil
}

func (w *watches) listen(informer cache.SharedIndexInformer) error {
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { w.changed() },
		UpdateFunc: func(any, any) { w.changed() },
		DeleteFunc: func(any) { w.changed() },
	})
	return err
}

// run follows the definitions until ctx ends.
func (w *watches) run(ctx context.Context, group *sync.WaitGroup) {
	for _, informer := range w.defined {
		group.Go(func() { informer.RunWithContext(ctx) })
	}
}

func (w *watches) synced() []cache.InformerSynced {
	var out []cache.InformerSynced
	for _, informer := range w.defined {
		out = append(out, informer.HasSynced)
	}
	return out
}

// served says whether a kind is there now.
func (w *watches) served(k kind) bool {
	for _, object := range w.defined[k.name].GetStore().List() {
		if definition, ok := object.(*unstructured.Unstructured); ok && definition.GetName() == k.definition() {
			return served(definition)
		}
	}
	return false
}

// open watches the objects of a kind and says whether the first list has arrived; when it has not, changed is
// called once it does.
func (w *watches) open(ctx context.Context, k kind) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if watch, ok := w.objects[k.name]; ok {
		return watch.informer.HasSynced(), nil
	}
	informer := dynamicinformer.NewFilteredDynamicInformer(w.client, k.resourceVersion(), w.namespace, 0, cache.Indexers{}, nil).Informer()
	if err := w.listen(informer); err != nil {
		return false, fmt.Errorf("watch %s: %w", k.resource, err)
	}
	// A kind that was taken away a moment ago is no error: its watch is about to be closed.
	err := informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, r *cache.Reflector, err error) {
		if apierrors.IsNotFound(err) {
			klog.FromContext(ctx).V(2).Info("Kind is not served", "kind", k.name)
			return
		}
		cache.DefaultWatchErrorHandler(ctx, r, err)
	})
	if err != nil {
		return false, fmt.Errorf("watch %s: %w", k.resource, err)
	}
	ctx, stop := context.WithCancel(ctx)
	watch := &objectWatch{informer: informer, stop: stop}
	watch.done.Go(func() { informer.RunWithContext(ctx) })
	watch.done.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
			w.changed()
		}
	})
	w.objects[k.name] = watch
	return false, nil
}

// close ends the watch of a kind that is not served any more.
func (w *watches) close(k kind) {
	w.mu.Lock()
	watch, ok := w.objects[k.name]
	delete(w.objects, k.name)
	w.mu.Unlock()
	if ok {
		watch.stop()
		watch.done.Wait()
	}
}

func (w *watches) closeAll() {
	for _, k := range kinds() {
		w.close(k)
	}
}

// get returns an object of a watched kind as the cache has it.
func (w *watches) get(k kind, name string) *unstructured.Unstructured {
	w.mu.Lock()
	defer w.mu.Unlock()
	watch, ok := w.objects[k.name]
	if !ok {
		return nil
	}
	object, exists, err := watch.informer.GetStore().GetByKey(w.namespace + "/" + name)
	if err != nil || !exists {
		return nil
	}
	live, _ := object.(*unstructured.Unstructured)
	return live
}
