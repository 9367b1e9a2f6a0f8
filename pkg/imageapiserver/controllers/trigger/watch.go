package trigger

import (
	"context"
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"

	"image.alauda.io/api/image/tags"
	imagev1 "image.alauda.io/api/image/v1"
)

// kinds are the workloads that can follow tags.
var kinds = map[string]schema.GroupVersionResource{
	"Deployment":  {Group: "apps", Version: "v1", Resource: "deployments"},
	"DaemonSet":   {Group: "apps", Version: "v1", Resource: "daemonsets"},
	"StatefulSet": {Group: "apps", Version: "v1", Resource: "statefulsets"},
	"CronJob":     {Group: "batch", Version: "v1", Resource: "cronjobs"},
}

// seen is what decides whether a workload has to be looked at again. The generation counts changes of the
// spec, and with it of the images. A workload that is made anew counts from the beginning, and a list after a
// broken watch does not tell that the old one was deleted: only the UID does.
type seen struct {
	uid        types.UID
	annotation string
	generation int64
}

// carriers remembers the workloads of one kind that carry the annotation, and no others: most have none. It
// is the store of a reflector.
type carriers struct {
	kind string
	// changed is called with what a workload follows now; gone when it is not to be looked at any more.
	changed func(w workload, followed []tags.StreamTag)
	gone    func(w workload)

	mu    sync.Mutex
	known map[workload]seen
}

func newCarriers(kind string, changed func(workload, []tags.StreamTag), gone func(workload)) *carriers {
	return &carriers{kind: kind, changed: changed, gone: gone, known: map[workload]seen{}}
}

// watch follows the workloads of the kind until the context ends.
func (c *carriers) watch(ctx context.Context, client metadata.Interface) {
	resource := client.Resource(kinds[c.kind])
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return resource.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return resource.Watch(ctx, options)
		},
	}
	cache.NewReflectorWithOptions(source, &metav1.PartialObjectMetadata{}, c, cache.ReflectorOptions{
		Name: "image-trigger/" + kinds[c.kind].Resource,
	}).RunWithContext(ctx)
}

// Add implements cache.ReflectorStore.
func (c *carriers) Add(obj any) error { return c.Update(obj) }

// Update implements cache.ReflectorStore.
func (c *carriers) Update(obj any) error {
	meta, err := metaOf(obj)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.take(meta)
	return nil
}

// Delete implements cache.ReflectorStore.
func (c *carriers) Delete(obj any) error {
	meta, err := metaOf(obj)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(c.workload(meta))
	return nil
}

// Replace implements cache.ReflectorStore.
func (c *carriers) Replace(list []any, _ string) error {
	present := make(map[workload]bool, len(list))
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, obj := range list {
		meta, err := metaOf(obj)
		if err != nil {
			return err
		}
		present[c.workload(meta)] = true
		c.take(meta)
	}
	for w := range c.known {
		if !present[w] {
			c.drop(w)
		}
	}
	return nil
}

// Resync implements cache.ReflectorStore.
func (*carriers) Resync() error { return nil }

func (c *carriers) workload(meta *metav1.ObjectMeta) workload {
	return workload{c.kind, meta.Namespace, meta.Name}
}

func (c *carriers) take(meta *metav1.ObjectMeta) {
	w := c.workload(meta)
	annotation := meta.Annotations[imagev1.TriggersAnnotation]
	if annotation == "" {
		c.drop(w)
		return
	}
	now := seen{meta.UID, annotation, meta.Generation}
	before, known := c.known[w]
	if known && before == now {
		return
	}
	if known && before.uid != now.uid {
		c.gone(w) // What was learned belongs to another object.
	}
	c.known[w] = now
	c.changed(w, followedBy(meta.Namespace, annotation))
}

func (c *carriers) drop(w workload) {
	if _, known := c.known[w]; known {
		delete(c.known, w)
		c.gone(w)
	}
}

// followedBy is what an annotation follows. What is wrong with it is found again, and told, by the sync.
func followedBy(namespace, annotation string) []tags.StreamTag {
	triggers, err := tags.ParseTriggers(annotation)
	if err != nil {
		return nil
	}
	var followed []tags.StreamTag
	for _, trigger := range triggers {
		if tag, follows, err := trigger.Follows(namespace); err == nil && follows {
			followed = append(followed, tag)
		}
	}
	return followed
}

func metaOf(obj any) (*metav1.ObjectMeta, error) {
	if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tombstone.Obj
	}
	partial, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return nil, fmt.Errorf("watch of workloads: unexpected %T", obj)
	}
	return &partial.ObjectMeta, nil
}
