package importer

import (
	"context"
	"slices"
	"sync"
)

// slots hands out a number of places that may change while they are in use. Who waits is
// served in order.
type slots struct {
	limit func() int

	mu      sync.Mutex
	used    int
	waiting []chan struct{}
}

// acquire waits for a place. It fails only when the context ends.
func (s *slots) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	limit := max(1, s.limit())
	s.mu.Lock()
	if len(s.waiting) == 0 && s.used < limit {
		s.used++
		s.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	s.waiting = append(s.waiting, turn)
	s.mu.Unlock()
	// The limit may have grown since the last place was given back.
	s.advance(limit)
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	if at := slices.Index(s.waiting, turn); at >= 0 {
		s.waiting = slices.Delete(s.waiting, at, at+1)
		s.mu.Unlock()
	} else {
		s.mu.Unlock()
		s.release()
	}
	return ctx.Err()
}

// release gives a place back.
func (s *slots) release() {
	limit := max(1, s.limit())
	s.mu.Lock()
	s.used--
	s.mu.Unlock()
	s.advance(limit)
}

// advance lets in those whose turn it is.
func (s *slots) advance(limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.waiting) > 0 && s.used < limit {
		s.used++
		close(s.waiting[0])
		s.waiting = slices.Delete(s.waiting, 0, 1)
	}
}
