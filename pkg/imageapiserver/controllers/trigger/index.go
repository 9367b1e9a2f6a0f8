package trigger

import (
	"slices"
	"sync"

	"image.alauda.io/api/image/tags"
)

// workload names an object that may carry triggers.
type workload struct {
	kind, namespace, name string
}

func (w workload) String() string { return w.kind + " " + w.namespace + "/" + w.name }

// stream names an image stream.
type stream struct{ namespace, name string }

// listener is a workload that follows a tag.
type listener struct {
	workload workload
	tag      string
}

// index knows which workloads follow which streams.
type index struct {
	mu sync.RWMutex
	// follows has what each workload follows, by has the workloads of each stream.
	follows map[workload][]tags.StreamTag
	by      map[stream]map[workload]bool
}

func newIndex() *index {
	return &index{follows: map[workload][]tags.StreamTag{}, by: map[stream]map[workload]bool{}}
}

// set replaces what a workload follows; nothing removes the workload.
func (i *index) set(w workload, followed []tags.StreamTag) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, tag := range i.follows[w] {
		key := stream{tag.Namespace, tag.Stream}
		delete(i.by[key], w)
		if len(i.by[key]) == 0 {
			delete(i.by, key)
		}
	}
	if len(followed) == 0 {
		delete(i.follows, w)
		return
	}
	i.follows[w] = slices.Clone(followed)
	for _, tag := range followed {
		key := stream{tag.Namespace, tag.Stream}
		if i.by[key] == nil {
			i.by[key] = map[workload]bool{}
		}
		i.by[key][w] = true
	}
}

// listeners are the workloads that follow a stream, with the tags.
func (i *index) listeners(s stream) []listener {
	i.mu.RLock()
	defer i.mu.RUnlock()
	var found []listener
	for w := range i.by[s] {
		for _, tag := range i.follows[w] {
			if tag.Namespace == s.namespace && tag.Stream == s.name {
				found = append(found, listener{w, tag.Tag})
			}
		}
	}
	return found
}
