package importer

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

func TestNobodyGetsAPlaceBeyondTheLimit(t *testing.T) {
	s := &slots{limit: func() int { return 3 }}
	var inside, most atomic.Int32
	ended := make(chan struct{})
	for range 40 {
		go func() {
			defer func() { ended <- struct{}{} }()
			if err := s.acquire(t.Context()); err != nil {
				t.Errorf("acquire: %v", err)
				return
			}
			for now := inside.Add(1); ; {
				before := most.Load()
				if now <= before || most.CompareAndSwap(before, now) {
					break
				}
			}
			inside.Add(-1)
			s.release()
		}()
	}
	for range 40 {
		<-ended
	}
	if got := most.Load(); got > 3 {
		t.Errorf("%d had a place at once, want at most 3", got)
	}
	if s.used != 0 || len(s.waiting) != 0 {
		t.Errorf("at the end %d places are used and %d wait", s.used, len(s.waiting))
	}
}

func TestAPlaceGivenToSomebodyWhoLeftIsNotLost(t *testing.T) {
	s := &slots{limit: func() int { return 1 }}
	if err := s.acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { left <- s.acquire(ctx) }()
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.waiting) == 1 })
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Fatalf("acquire returned %v, want the end of the context", err)
	}
	s.release()
	if err := s.acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestALargerLimitLetsInThoseWhoWait(t *testing.T) {
	var limit atomic.Int32
	limit.Store(1)
	s := &slots{limit: func() int { return int(limit.Load()) }}
	_ = s.acquire(t.Context())
	first := make(chan error, 1)
	go func() { first <- s.acquire(t.Context()) }()
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.waiting) == 1 })
	limit.Store(3)
	if err := s.acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-first; err != nil {
		t.Fatal(err)
	}
}

func TestNamesThatNobodyUsesAreForgotten(t *testing.T) {
	h := newShares(func() int { return 1 })
	release, err := h.acquire(t.Context(), "a.example")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.acquire(ctx, "a.example"); !errors.Is(err, context.Canceled) {
		t.Errorf("a second place at the host: %v, want the end of the context", err)
	}
	release()
	if len(h.names) != 0 {
		t.Errorf("%d names are remembered", len(h.names))
	}
}

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatal("the condition never came true")
		}
		time.Sleep(time.Millisecond)
	}
}
