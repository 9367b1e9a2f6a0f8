package apply

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
)

// Cache watches every object that the operator may own: everything of the owned kinds in the operand
// namespace, cluster-scoped objects that carry the operator's label, and one RoleBinding in kube-system.
type Cache struct {
	namespace string
	informers map[scope]cache.SharedIndexInformer
	factories []dynamicinformer.DynamicSharedInformerFactory
}

// scope tells apart the caches of one kind.
type scope struct{ kind, namespace string }

// foreignBinding is the one namespaced object outside the operand namespace.
var foreignBinding = Ref{Kind: "RoleBinding", Namespace: metav1.NamespaceSystem, Name: "image-api-server-authentication-reader"}

// NewCache prepares the watches; Start begins them. Resync repeats every object to the handlers.
func NewCache(client dynamic.Interface, namespace, managedBySelector string, resync time.Duration) *Cache {
	c := &Cache{namespace: namespace, informers: map[scope]cache.SharedIndexInformer{}}
	inNamespace := dynamicinformer.NewFilteredDynamicSharedInformerFactory(client, resync, namespace, nil)
	labelled := dynamicinformer.NewFilteredDynamicSharedInformerFactory(client, resync, metav1.NamespaceAll,
		func(o *metav1.ListOptions) { o.LabelSelector = managedBySelector })
	single := dynamicinformer.NewFilteredDynamicSharedInformerFactory(client, resync, foreignBinding.Namespace,
		func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, foreignBinding.Name).String()
		})
	c.factories = []dynamicinformer.DynamicSharedInformerFactory{inNamespace, labelled, single}
	for _, kind := range Kinds() {
		if kind.Namespaced {
			c.informers[scope{kind.GVK.Kind, namespace}] = inNamespace.ForResource(kind.GVR()).Informer()
		} else {
			c.informers[scope{kind.GVK.Kind, ""}] = labelled.ForResource(kind.GVR()).Informer()
		}
		if kind.GVK.Kind == foreignBinding.Kind {
			c.informers[scope{kind.GVK.Kind, foreignBinding.Namespace}] = single.ForResource(kind.GVR()).Informer()
		}
	}
	return c
}

// SetTransform changes every object of a kind before it is kept. It is called before Start.
func (c *Cache) SetTransform(kind string, transform cache.TransformFunc) error {
	for key, informer := range c.informers {
		if key.kind != kind {
			continue
		}
		if err := informer.SetTransform(transform); err != nil {
			return fmt.Errorf("transform %s: %w", kind, err)
		}
	}
	return nil
}

// OnEvent calls handle for every change of every watched object. The boolean tells a periodic repetition
// from a real change.
func (c *Cache) OnEvent(handle func(object *unstructured.Unstructured, repeated bool)) error {
	notify := func(object any, repeated bool) {
		if tombstone, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = tombstone.Obj
		}
		if u, ok := object.(*unstructured.Unstructured); ok {
			handle(u, repeated)
		}
	}
	for key, informer := range c.informers {
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(object any) { notify(object, false) },
			DeleteFunc: func(object any) { notify(object, false) },
			UpdateFunc: func(before, after any) {
				b, okB := before.(*unstructured.Unstructured)
				a, okA := after.(*unstructured.Unstructured)
				notify(after, okA && okB && a.GetResourceVersion() == b.GetResourceVersion())
			},
		})
		if err != nil {
			return fmt.Errorf("watch %s: %w", key.kind, err)
		}
	}
	return nil
}

// Start begins the watches; they end with ctx.
func (c *Cache) Start(ctx context.Context) {
	for _, factory := range c.factories {
		factory.Start(ctx.Done())
	}
}

// HasSynced says whether every watch has delivered its first list.
func (c *Cache) HasSynced() bool {
	for _, informer := range c.informers {
		if !informer.HasSynced() {
			return false
		}
	}
	return true
}

// Get returns the cached object, nil when the cache does not hold it. The object must not be changed.
func (c *Cache) Get(ref Ref) *unstructured.Unstructured {
	informer, ok := c.informers[scope{ref.Kind, ref.Namespace}]
	if !ok {
		return nil
	}
	key := ref.Name
	if ref.Namespace != "" {
		key = ref.Namespace + "/" + ref.Name
	}
	object, exists, err := informer.GetStore().GetByKey(key)
	if err != nil || !exists {
		return nil
	}
	u, _ := object.(*unstructured.Unstructured)
	return u
}
