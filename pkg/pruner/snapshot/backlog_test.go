package snapshot

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/watch"
)

// held is a clock that keeps those waiting who let a new watch tell what happened before it.
type held struct {
	*waits
	asked chan struct{}
	over  chan time.Time
}

func (h held) After(d time.Duration) <-chan time.Time {
	switch d {
	case backlogPause:
		h.asked <- struct{}{}
		return h.over
	case backlogLimit:
		return make(chan time.Time)
	}
	return h.waits.After(d)
}

// Behaviour 23. A watch first brings what happened between the list and itself: nothing is decided before
// that was heard.
func TestNewWatchIsHeardBeforeDecisions(t *testing.T) {
	w := &widgets{watches: make(chan watch.Interface, 1)}
	w.watches <- watch.NewFake()
	_, source, snap := watched(t, w, widgetKind())
	clock := held{waits: newWaits(), asked: make(chan struct{}, 100), over: make(chan time.Time)}
	source.Clock = clock
	watches := source.Watch(t.Context(), snap)
	defer watches.Stop()
	patience := time.After(time.Minute)
	for range snap.feeds {
		select {
		case <-clock.asked:
		case <-patience:
			t.Fatal("not every watch waits for what happened before it")
		}
	}
	for _, f := range snap.feeds {
		watches.mu.Lock()
		if watches.states[f] != behind {
			t.Errorf("%s counts as current", f.what)
		}
		watches.mu.Unlock()
	}
	close(clock.over)
	if err := watches.Current(t.Context()); err != nil {
		t.Error(err)
	}
}

// A kind whose watches end at once is read again before it counts as one that cannot be watched: images may
// be on their way out already.
func TestWatchesThatEndAtOnce(t *testing.T) {
	w := &widgets{watches: make(chan watch.Interface, maxShort)}
	for range maxShort {
		ended := watch.NewFake()
		ended.Stop()
		w.watches <- ended
	}
	_, source, snap := watched(t, w, widgetKind())
	source.Clock = held{waits: newWaits(), asked: make(chan struct{}, 100), over: make(chan time.Time)}
	before := w.lists.Load()
	image := using("e")
	w.image.Store(&image)
	watches := source.Watch(t.Context(), snap)
	defer watches.Stop()
	f := snap.feeds[len(snap.feeds)-1]
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		watches.mu.Lock()
		state := watches.states[f]
		watches.mu.Unlock()
		if state == unwatched {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the kind is still watched")
		}
	}
	if _, used := snap.Uses.AnyDigestUser(digestOf("e")); !used || w.lists.Load() == before {
		t.Errorf("%d lists, and what they show is in use: %t", w.lists.Load()-before, used)
	}
}
