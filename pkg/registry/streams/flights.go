package streams

import (
	"context"
	"sync"
)

// flights share reads. It is not x/sync/singleflight because there a caller can get the
// result of a read that began long before the call, and what another replica had stored
// in between would be missing in it.
type flights[K comparable, V any] struct {
	load func(ctx context.Context, key K) (V, error)
	// keep gets the result of every read whose key was not forgotten meanwhile.
	keep func(key K, value V, err error)

	mu    sync.Mutex
	lanes map[K]*lane[V]
}

// lane are the reads of one key: one that is under way, and at most one that waits for it
// and was not begun when its callers came.
type lane[V any] struct {
	current, next *flight[V]
	// forgotten lanes finish for those who wait, and keep nothing.
	forgotten bool
}

type flight[V any] struct {
	done  chan struct{}
	value V
	err   error
}

func newFlights[K comparable, V any](load func(context.Context, K) (V, error), keep func(K, V, error)) *flights[K, V] {
	return &flights[K, V]{load: load, keep: keep, lanes: map[K]*lane[V]{}}
}

// get waits for a read. Without strict it may be one that is under way. fresh says that
// the read began after the call. A caller that leaves does not end the read for others.
func (f *flights[K, V]) get(ctx context.Context, key K, strict bool) (value V, fresh bool, err error) {
	waitFor, fresh := f.join(ctx, key, strict)
	select {
	case <-waitFor.done:
		return waitFor.value, fresh, waitFor.err
	case <-ctx.Done():
		return value, fresh, ctx.Err()
	}
}

func (f *flights[K, V]) join(ctx context.Context, key K, strict bool) (*flight[V], bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, found := f.lanes[key]
	switch {
	case !found:
		l = &lane[V]{current: &flight[V]{done: make(chan struct{})}}
		f.lanes[key] = l
		go f.fly(context.WithoutCancel(ctx), key, l)
		return l.current, true
	case !strict:
		return l.current, false
	case l.next == nil:
		l.next = &flight[V]{done: make(chan struct{})}
	}
	return l.next, true
}

// fly works through a lane until nobody waits any more.
func (f *flights[K, V]) fly(ctx context.Context, key K, l *lane[V]) {
	for running := true; running; {
		f.mu.Lock()
		current := l.current
		f.mu.Unlock()
		current.value, current.err = f.load(ctx, key)
		f.mu.Lock()
		if !l.forgotten && f.keep != nil {
			f.keep(key, current.value, current.err)
		}
		l.current, l.next = l.next, nil
		running = l.current != nil
		if !running && !l.forgotten {
			delete(f.lanes, key)
		}
		f.mu.Unlock()
		close(current.done)
	}
}

// forget makes everybody who comes from now on begin a new read, and drops the results of
// those that are under way. also runs in the same step.
func (f *flights[K, V]) forget(key K, also func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l, found := f.lanes[key]; found {
		l.forgotten = true
		delete(f.lanes, key)
	}
	also()
}
