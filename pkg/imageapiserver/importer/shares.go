package importer

import (
	"context"
	"sync"
)

// shares hands out places per name, of a registry host or of a tenant, and forgets names that nobody uses.
type shares struct {
	limit func() int

	mu    sync.Mutex
	names map[string]*share
}

type share struct {
	places slots
	users  int
}

func newShares(limit func() int) *shares {
	return &shares{limit: limit, names: map[string]*share{}}
}

// acquire waits for a place under a name. The returned function gives it back.
func (s *shares) acquire(ctx context.Context, name string) (func(), error) {
	s.mu.Lock()
	entry, found := s.names[name]
	if !found {
		entry = &share{places: slots{limit: s.limit}}
		s.names[name] = entry
	}
	entry.users++
	s.mu.Unlock()
	if err := entry.places.acquire(ctx); err != nil {
		s.leave(name, entry)
		return nil, err
	}
	return func() {
		entry.places.release()
		s.leave(name, entry)
	}, nil
}

func (s *shares) leave(name string, entry *share) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if entry.users--; entry.users == 0 {
		delete(s.names, name)
	}
}

// tenantPlaces is how many of the places of the process one tenant may have: two of five, but what one request
// may have in any case. Whoever imports from registries that do not answer keeps those places for as long as he
// likes.
func tenantPlaces(process, request int) int { return max(request, process*2/5) }
