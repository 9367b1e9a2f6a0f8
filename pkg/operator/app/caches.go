package app

import "sync"

// caches says whether every cache of the process is filled. It exists before them, so that the probes are
// answered from the first moment.
type caches struct {
	mu     sync.Mutex
	synced []func() bool
}

func newCaches() *caches { return &caches{} }

func (c *caches) add(synced ...func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.synced = append(c.synced, synced...)
}

// ready is false until something was added.
func (c *caches) ready() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, synced := range c.synced {
		if !synced() {
			return false
		}
	}
	return len(c.synced) > 0
}
