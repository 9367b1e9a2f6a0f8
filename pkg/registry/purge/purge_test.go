package purge

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/store"

	"go.uber.org/zap"
	testingclock "k8s.io/utils/clock/testing"
)

// storage holds sessions and the note, on the clock of the test.
type storage struct {
	mu       sync.Mutex
	clock    *testingclock.FakeClock
	sessions map[string]time.Time
	// revived is used again while the search goes on.
	revived string
	stuck   string
	last    time.Time
	walks   int
}

func (s *storage) Sessions(_ context.Context, visit func(store.Session) error) error {
	s.mu.Lock()
	var all []store.Session
	for path, used := range s.sessions {
		all = append(all, store.Session{Path: path, LastUsed: used})
	}
	s.walks++
	if s.revived != "" {
		s.sessions[s.revived] = s.clock.Now()
	}
	s.mu.Unlock()
	for _, session := range all {
		if err := visit(session); err != nil {
			return err
		}
	}
	return nil
}

func (s *storage) Session(_ context.Context, path string) (store.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	used, found := s.sessions[path]
	if !found {
		return store.Session{}, store.ErrNotFound
	}
	return store.Session{Path: path, LastUsed: used}, nil
}

func (s *storage) RemoveSession(_ context.Context, session store.Session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if session.Path == s.stuck {
		return errors.New("no answer")
	}
	delete(s.sessions, session.Path)
	return nil
}

func (s *storage) LastPurge(context.Context) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.IsZero() {
		return s.last, store.ErrNotFound
	}
	return s.last, nil
}

func (s *storage) NotePurge(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = s.clock.Now()
	return nil
}

func newStorage(ages map[string]time.Duration) *storage {
	s := &storage{clock: testingclock.NewFakeClock(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)), sessions: map[string]time.Time{}}
	for path, age := range ages {
		s.sessions[path] = s.clock.Now().Add(-age)
	}
	return s
}

func (s *storage) purger(t *testing.T, dryRun bool, random float64) *Purger {
	t.Helper()
	p, err := New(Options{
		Age: 168 * time.Hour, Interval: 24 * time.Hour, DryRun: dryRun, Storage: s, Clock: s.clock,
		Random: func() float64 { return random }, Log: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Behaviour 15: purge removes only what is older than the age.
func TestOnlySilentSessionsAreRemoved(t *testing.T) {
	s := newStorage(map[string]time.Duration{"old": 169 * time.Hour, "exact": 168 * time.Hour, "young": time.Hour, "revived": 200 * time.Hour, "stuck": 200 * time.Hour})
	s.revived, s.stuck = "revived", "stuck"
	if result, err := s.purger(t, true, 0).Turn(t.Context()); err != nil || result.Found != 5 || result.Removed != 0 || len(s.sessions) != 5 {
		t.Errorf("dry run: %+v, %v, %d left", result, err, len(s.sessions))
	}
	s.last, s.revived = time.Time{}, "revived"
	s.sessions["revived"] = s.clock.Now().Add(-200 * time.Hour)
	if _, err := s.purger(t, false, 0).Turn(t.Context()); err == nil {
		t.Error("a session that cannot be removed is no error")
	}
	for path, left := range map[string]bool{"old": false, "exact": true, "young": true, "revived": true, "stuck": true} {
		if _, found := s.sessions[path]; found != left {
			t.Errorf("session %s: there %t, want %t", path, found, left)
		}
	}
	if !s.last.IsZero() {
		t.Error("an incomplete purge was noted, so that no other replica tries")
	}
}

func TestANoteFarInTheFutureDoesNotEndPurging(t *testing.T) {
	s := newStorage(nil)
	for age, skipped := range map[time.Duration]bool{11 * time.Hour: true, 12 * time.Hour: false, -time.Hour: true, -100 * time.Hour: false} {
		s.last = s.clock.Now().Add(-age)
		if result, err := s.purger(t, false, 0).Turn(t.Context()); err != nil || result.Skipped != skipped {
			t.Errorf("a note %s old: %+v, %v, want skipped %t", age, result, err, skipped)
		}
	}
}

// Behaviour 86: two replicas purge about once per interval.
func TestTwoReplicasPurgeOncePerInterval(t *testing.T) {
	s := newStorage(nil)
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for _, random := range []float64{0.1, 0.9} {
		group.Go(func() { s.purger(t, false, random).Run(ctx) })
	}
	const days = 10
	for range days * 24 * 6 {
		awaitTimers(t, s.clock)
		s.clock.Step(10 * time.Minute)
	}
	awaitTimers(t, s.clock)
	cancel()
	group.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.walks != days {
		t.Errorf("%d purges in %d days by two replicas", s.walks, days)
	}
}

// awaitTimers returns when both replicas wait for their next turn.
func awaitTimers(t *testing.T, clock *testingclock.FakeClock) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); clock.Waiters() < 2; time.Sleep(50 * time.Microsecond) {
		if time.Now().After(deadline) {
			t.Fatal("no turn ended")
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	s := newStorage(nil)
	good := s.purger(t, false, 0).options
	for name, change := range map[string]func(*Options){
		"age": func(o *Options) { o.Age = 0 }, "interval": func(o *Options) { o.Interval = -1 }, "storage": func(o *Options) { o.Storage = nil },
		"clock": func(o *Options) { o.Clock = nil }, "random": func(o *Options) { o.Random = nil }, "log": func(o *Options) { o.Log = nil },
	} {
		bad := good
		change(&bad)
		if _, err := New(bad); err == nil {
			t.Errorf("no error for a bad %s", name)
		}
	}
}
