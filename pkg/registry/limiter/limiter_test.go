package limiter

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Behaviour 78.
func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unlimited := New(0, 0, 0)
		for range 100 {
			if _, err := unlimited.Acquire(t.Context()); err != nil {
				t.Fatalf("no limit refused: %v", err)
			}
		}
		l := New(1, 1, time.Second)
		release, err := l.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		queued := make(chan error, 1)
		go func() {
			_, err := l.Acquire(t.Context())
			queued <- err
		}()
		synctest.Wait()
		if l.Running() != 1 || l.Waiting() != 1 {
			t.Errorf("%d running, %d waiting; want one each", l.Running(), l.Waiting())
		}
		if _, err := l.Acquire(t.Context()); !errors.Is(err, ErrQueueFull) {
			t.Errorf("full queue: %v", err)
		}
		if err := <-queued; !errors.Is(err, ErrTimeout) {
			t.Errorf("after the longest wait: %v", err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := l.Acquire(gone); !errors.Is(err, ErrGone) {
			t.Errorf("client gone: %v", err)
		}
		go func() {
			_, err := l.Acquire(t.Context())
			queued <- err
		}()
		synctest.Wait()
		release()
		if err := <-queued; err != nil {
			t.Errorf("a freed slot was not given on: %v", err)
		}
	})
}

// Behaviour 78.
func TestNoQueueRefusesAtOnce(t *testing.T) {
	l := New(1, 0, 0)
	release, err := l.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Acquire(t.Context()); !errors.Is(err, ErrQueueFull) {
		t.Errorf("%v, want ErrQueueFull", err)
	}
	release()
	if _, err := l.Acquire(t.Context()); err != nil {
		t.Errorf("free slot refused: %v", err)
	}
}

// Behaviour 67: copies in the background leave room for pushes.
func TestWorkInTheBackgroundTakesHalfOfTheSlots(t *testing.T) {
	for slots, want := range map[int]int{1: 1, 2: 1, 3: 1, 8: 4} {
		l := New(slots, 0, 0)
		var releases []func()
		for range slots {
			if release, ok := l.TryAcquire(); ok {
				releases = append(releases, release)
			}
		}
		if len(releases) != want {
			t.Errorf("%d of %d slots were taken, want %d", len(releases), slots, want)
		}
		releases[0]()
		if _, ok := l.TryAcquire(); !ok {
			t.Errorf("of %d slots a free one was refused", slots)
		}
	}
	if _, ok := New(0, 0, 0).TryAcquire(); !ok {
		t.Error("without a limit there is always room")
	}
}
