package importer

import (
	"context"
	"sync"
)

// Slots limits how much runs at the same time. The limit is asked for each time, so it can change.
type Slots struct {
	limit func() int

	mu    sync.Mutex
	taken int
	freed chan struct{}
}

// NewSlots returns slots with a limit; less than one is taken as one.
func NewSlots(limit func() int) *Slots {
	return &Slots{limit: limit, freed: make(chan struct{}, 1)}
}

// Take waits for a slot, and returns false when the context ends first.
func (s *Slots) Take(ctx context.Context) bool {
	for {
		if ctx.Err() != nil {
			return false
		}
		if s.try() {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-s.freed:
		}
	}
}

func (s *Slots) try() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= max(1, s.limit()) {
		return false
	}
	s.taken++
	return true
}

// Free gives a slot back.
func (s *Slots) Free() {
	s.mu.Lock()
	s.taken--
	s.mu.Unlock()
	select {
	case s.freed <- struct{}{}:
	default:
	}
}
