package streams

import (
	"container/list"
	"sync"

	"image.alauda.io/registry/pkg/registry/route"
)

// kept holds views up to a number of bytes. What was not used for longest goes first.
type kept struct {
	mu      sync.Mutex
	max     int64
	bytes   int64
	order   *list.List // of *keptView, used last in front
	entries map[route.Name]*list.Element
}

type keptView struct {
	name route.Name
	view *View
}

func newKept(maxBytes int64) *kept {
	return &kept{max: maxBytes, order: list.New(), entries: map[route.Name]*list.Element{}}
}

func (k *kept) get(name route.Name) *View {
	k.mu.Lock()
	defer k.mu.Unlock()
	element, found := k.entries[name]
	if !found {
		return nil
	}
	k.order.MoveToFront(element)
	return element.Value.(*keptView).view
}

// put keeps a view in place of the one before. One that is larger than all room is not
// kept: its stream is read each time.
func (k *kept) put(name route.Name, view *View) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drop(k.entries[name])
	if view.bytes > k.max {
		return
	}
	k.entries[name] = k.order.PushFront(&keptView{name, view})
	k.bytes += view.bytes
	for k.bytes > k.max {
		k.drop(k.order.Back())
	}
}

func (k *kept) remove(name route.Name) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drop(k.entries[name])
}

func (k *kept) drop(element *list.Element) {
	if element == nil {
		return
	}
	entry := k.order.Remove(element).(*keptView)
	delete(k.entries, entry.name)
	k.bytes -= entry.view.bytes
}

func (k *kept) size() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.bytes
}
