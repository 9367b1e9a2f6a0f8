package importer

import (
	"sync"

	"k8s.io/client-go/tools/cache"
)

// Turns keeps the streams of one namespace from taking all slots: a stream whose registry does not answer
// holds its slot for minutes, and anybody may have many of them. What is beyond its namespace's share waits
// aside, in order, until another stream of the namespace has ended. It is safe for concurrent use.
type Turns struct {
	// workers is the number of slots; it may change.
	workers func() int

	mu      sync.Mutex
	working map[string]int
	waiting map[string][]cache.ObjectName
}

// NewTurns shares a number of slots.
func NewTurns(workers func() int) *Turns {
	return &Turns{workers: workers, working: map[string]int{}, waiting: map[string][]cache.ObjectName{}}
}

// Begin tells whether a stream may be worked on now. If not it waits aside, once, until End names it.
func (t *Turns) Begin(key cache.ObjectName) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	// Two of five, so that not even two namespaces have all.
	if t.working[key.Namespace] < max(1, t.workers()*2/5) {
		t.working[key.Namespace]++
		return true
	}
	for _, known := range t.waiting[key.Namespace] {
		if known == key {
			return false
		}
	}
	t.waiting[key.Namespace] = append(t.waiting[key.Namespace], key)
	return false
}

// End follows a Begin that returned true. It returns the stream that waited for it, if there is one.
func (t *Turns) End(namespace string) (next cache.ObjectName, found bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.working[namespace]--; t.working[namespace] == 0 {
		delete(t.working, namespace)
	}
	list := t.waiting[namespace]
	if len(list) == 0 {
		return cache.ObjectName{}, false
	}
	next = list[0]
	if t.waiting[namespace] = list[1:]; len(list) == 1 {
		delete(t.waiting, namespace)
	}
	return next, true
}

// Cancel follows a Begin after which nothing was done.
func (t *Turns) Cancel(namespace string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.working[namespace]--; t.working[namespace] == 0 {
		delete(t.working, namespace)
	}
}
