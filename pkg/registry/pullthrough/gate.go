package pullthrough

import (
	"context"
	"sync"
)

// gate bounds work at a time, all in all and for each namespace, so that none takes
// everything.
type gate struct {
	total, each int

	mu      sync.Mutex
	used    int
	byName  map[string]int
	changed chan struct{}
}

func newGate(total, each int) *gate {
	return &gate{total: total, each: each, byName: map[string]int{}, changed: make(chan struct{})}
}

// try enters if there is room. Whoever entered calls leave once.
func (g *gate) try(name string) (leave func(), ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.used >= g.total || g.byName[name] >= g.each {
		return nil, false
	}
	g.used++
	g.byName[name]++
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.used--
		if g.byName[name]--; g.byName[name] == 0 {
			delete(g.byName, name)
		}
		close(g.changed)
		g.changed = make(chan struct{})
	}), true
}

// enter waits for room.
func (g *gate) enter(ctx context.Context, name string) (leave func(), err error) {
	for {
		g.mu.Lock()
		changed := g.changed
		g.mu.Unlock()
		if leave, ok := g.try(name); ok {
			return leave, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
