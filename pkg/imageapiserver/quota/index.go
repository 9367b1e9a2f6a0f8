package quota

import (
	"sync"
	"sync/atomic"

	"k8s.io/client-go/tools/cache"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/limits"
)

// Index counts what the streams of each namespace use. It is fed by an
// informer, so it is a little behind the store.
type Index struct {
	mu         sync.RWMutex
	namespaces map[string]*namespaceUsage
	synced     atomic.Pointer[func() bool]
	changed    []func(namespace string, change Amounts)
}

// namespaceUsage is what one namespace uses.
type namespaceUsage struct {
	streams map[string]streamUsage
	// images counts, for each digest, the streams that name it.
	images map[string]int
	tags   int64
}

type streamUsage struct {
	images map[string]bool
	tags   int
}

// NewIndex makes an index that knows nothing until it is fed.
func NewIndex() *Index { return &Index{namespaces: map[string]*namespaceUsage{}} }

// OnChange calls fn for each namespace whose usage has changed, and says by how
// much. It must be called before Feed; fn must not block.
func (i *Index) OnChange(fn func(namespace string, change Amounts)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.changed = append(i.changed, fn)
}

// Feed follows an informer of streams.
func (i *Index) Feed(informer cache.SharedIndexInformer) error {
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: i.put,
		UpdateFunc: func(old, current any) {
			i.put(current)
		},
		DeleteFunc: func(obj any) {
			if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			if stream, ok := obj.(*imageapi.ImageStream); ok {
				i.remove(stream.Namespace, stream.Name)
			}
		},
	})
	if err != nil {
		return err
	}
	hasSynced := registration.HasSynced
	i.synced.Store(&hasSynced)
	return nil
}

// HasSynced tells whether all streams have been counted once.
func (i *Index) HasSynced() bool {
	synced := i.synced.Load()
	return synced != nil && (*synced)()
}

func (i *Index) put(obj any) {
	stream, ok := obj.(*imageapi.ImageStream)
	if !ok {
		return
	}
	counted := limits.UsageOf(stream)
	usage := streamUsage{images: counted.Images, tags: len(counted.Tags)}
	i.mu.Lock()
	namespace := i.namespaces[stream.Namespace]
	if namespace == nil {
		namespace = &namespaceUsage{streams: map[string]streamUsage{}, images: map[string]int{}}
		i.namespaces[stream.Namespace] = namespace
	}
	before := namespace.amounts()
	namespace.drop(stream.Name)
	namespace.streams[stream.Name] = usage
	namespace.tags += int64(usage.tags)
	for digest := range usage.images {
		namespace.images[digest]++
	}
	listeners, change := i.changed, namespace.amounts().minus(before)
	i.mu.Unlock()
	if !change.zero() {
		tell(listeners, stream.Namespace, change)
	}
}

func (i *Index) remove(namespaceName, name string) {
	i.mu.Lock()
	namespace, change := i.namespaces[namespaceName], Amounts{}
	if namespace != nil {
		before := namespace.amounts()
		namespace.drop(name)
		change = namespace.amounts().minus(before)
		if len(namespace.streams) == 0 {
			delete(i.namespaces, namespaceName)
		}
	}
	listeners := i.changed
	i.mu.Unlock()
	tell(listeners, namespaceName, change)
}

func tell(listeners []func(string, Amounts), namespace string, change Amounts) {
	for _, listener := range listeners {
		listener(namespace, change)
	}
}

func (n *namespaceUsage) drop(name string) {
	usage, found := n.streams[name]
	if !found {
		return
	}
	delete(n.streams, name)
	n.tags -= int64(usage.tags)
	for digest := range usage.images {
		if n.images[digest]--; n.images[digest] == 0 {
			delete(n.images, digest)
		}
	}
}

func (n *namespaceUsage) amounts() Amounts {
	return amountsOf(int64(len(n.streams)), int64(len(n.images)), n.tags)
}

// Used counts a namespace, by the names of quotas.
func (i *Index) Used(namespace string) Amounts {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if usage := i.namespaces[namespace]; usage != nil {
		return usage.amounts()
	}
	return amountsOf(0, 0, 0)
}

// Delta is what a write changes in its namespace. old is nil, or without a
// name, for a new stream. A digest counts when no other stream of the
// namespace names it.
func (i *Index) Delta(stream, old *imageapi.ImageStream) Amounts {
	streams := int64(0)
	if old == nil || old.Name == "" {
		streams, old = 1, nil
	}
	now, before := limits.UsageOf(stream), limits.UsageOf(old)
	i.mu.RLock()
	defer i.mu.RUnlock()
	namespace := i.namespaces[stream.Namespace]
	images := namespace.alone(stream.Name, limits.Without(now.Images, before.Images)) -
		namespace.alone(stream.Name, limits.Without(before.Images, now.Images))
	return amountsOf(streams, images, int64(len(now.Tags)-len(before.Tags)))
}

// alone counts the digests that no stream but this one names.
func (n *namespaceUsage) alone(stream string, digests []string) int64 {
	if n == nil {
		return int64(len(digests))
	}
	own, count := n.streams[stream], int64(0)
	for _, digest := range digests {
		others := n.images[digest]
		if own.images[digest] {
			others--
		}
		if others == 0 {
			count++
		}
	}
	return count
}
