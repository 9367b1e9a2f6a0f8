package auth

import (
	"container/list"
	"sync"
	"time"
)

// cache is a bounded map whose entries end. The oldest used entry goes first.
type cache[V any] struct {
	mu      sync.Mutex
	size    int
	now     func() time.Time
	order   *list.List
	entries map[string]*list.Element
}

type cacheEntry[V any] struct {
	key   string
	value V
	until time.Time
}

func newCache[V any](size int, now func() time.Time) *cache[V] {
	return &cache[V]{size: size, now: now, order: list.New(), entries: map[string]*list.Element{}}
}

func (c *cache[V]) get(key string) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var none V
	element, ok := c.entries[key]
	if !ok {
		return none, false
	}
	entry := element.Value.(*cacheEntry[V])
	if !c.now().Before(entry.until) {
		c.order.Remove(element)
		delete(c.entries, key)
		return none, false
	}
	c.order.MoveToFront(element)
	return entry.value, true
}

// put keeps the value until the given time; a time in the past keeps nothing.
func (c *cache[V]) put(key string, value V, until time.Time) {
	if !c.now().Before(until) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if element, ok := c.entries[key]; ok {
		element.Value = &cacheEntry[V]{key, value, until}
		c.order.MoveToFront(element)
		return
	}
	c.entries[key] = c.order.PushFront(&cacheEntry[V]{key, value, until})
	if c.order.Len() > c.size {
		last := c.order.Back()
		c.order.Remove(last)
		delete(c.entries, last.Value.(*cacheEntry[V]).key)
	}
}
