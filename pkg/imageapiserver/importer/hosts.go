package importer

import (
	"context"
	"sync"
)

// hostSlots hands out places per registry host and forgets hosts that nobody uses.
type hostSlots struct {
	limit int

	mu    sync.Mutex
	hosts map[string]*hostEntry
}

type hostEntry struct {
	places slots
	users  int
}

func newHostSlots(limit int) *hostSlots {
	return &hostSlots{limit: limit, hosts: map[string]*hostEntry{}}
}

// acquire waits for a place at a host. The returned function gives it back.
func (h *hostSlots) acquire(ctx context.Context, host string) (func(), error) {
	h.mu.Lock()
	entry, found := h.hosts[host]
	if !found {
		entry = &hostEntry{places: slots{limit: func() int { return h.limit }}}
		h.hosts[host] = entry
	}
	entry.users++
	h.mu.Unlock()
	if err := entry.places.acquire(ctx); err != nil {
		h.leave(host, entry)
		return nil, err
	}
	return func() {
		entry.places.release()
		h.leave(host, entry)
	}, nil
}

func (h *hostSlots) leave(host string, entry *hostEntry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if entry.users--; entry.users == 0 {
		delete(h.hosts, host)
	}
}
