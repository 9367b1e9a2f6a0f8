// Package limiter bounds the requests that are served at the same time.
//
// Each class of requests, reads and writes, has a number of slots and a queue. A
// request takes a slot at once, waits in the queue if there is room, or is turned away;
// one that waits is turned away when its time is up or its client left. The slot is
// held until the whole answer was sent. A limit of zero slots lets everything through.
package limiter

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// Reasons for which a request was turned away.
var (
	ErrQueueFull = errors.New("too many requests are waiting")
	ErrTimeout   = errors.New("the request waited too long")
	ErrGone      = errors.New("the client left the queue")
)

// reasons are the errors by the names that metrics use.
var reasons = []struct {
	name string
	err  error
}{{"queue_full", ErrQueueFull}, {"timeout", ErrTimeout}, {"client_gone", ErrGone}}

// Reasons are the names of why requests are turned away.
func Reasons() []string {
	names := make([]string, len(reasons))
	for i, reason := range reasons {
		names[i] = reason.name
	}
	return names
}

// Limiter bounds one class of requests.
type Limiter struct {
	slots   chan struct{}
	queue   int64
	maxWait time.Duration

	waiting atomic.Int64
	running atomic.Int64
	// background counts the slots of TryAcquire.
	background atomic.Int64
	// rejected counts by the index of the reason.
	rejected [3]atomic.Int64
}

// New returns a Limiter: running slots (0 is no limit), places in the queue, and the
// longest wait (0 is no end).
func New(running, queue int, maxWait time.Duration) *Limiter {
	l := &Limiter{queue: int64(queue), maxWait: maxWait}
	if running > 0 {
		l.slots = make(chan struct{}, running)
	}
	return l
}

// Acquire takes a slot. The returned function gives it back and must be called once.
func (l *Limiter) Acquire(ctx context.Context) (release func(), err error) {
	release, err = l.acquire(ctx)
	for i, reason := range reasons {
		if err != nil && errors.Is(err, reason.err) {
			l.rejected[i].Add(1)
		}
	}
	return release, err
}

func (l *Limiter) acquire(ctx context.Context) (release func(), err error) {
	if l.slots == nil {
		return l.run(func() {}), nil
	}
	free := func() { <-l.slots }
	select {
	case l.slots <- struct{}{}:
		return l.run(free), nil
	default:
	}
	if l.waiting.Add(1) > l.queue {
		l.waiting.Add(-1)
		return nil, ErrQueueFull
	}
	defer l.waiting.Add(-1)
	var expired <-chan time.Time
	if l.maxWait > 0 {
		timer := time.NewTimer(l.maxWait)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case l.slots <- struct{}{}:
		return l.run(free), nil
	case <-expired:
		return nil, ErrTimeout
	case <-ctx.Done():
		return nil, ErrGone
	}
}

// TryAcquire takes a slot for work that nobody waits for, if one is free and nobody else
// wants it. Such work has half of the slots at most, or one of one: it may last for hours.
// The returned function gives the slot back and must be called once.
func (l *Limiter) TryAcquire() (release func(), ok bool) {
	if l.slots == nil {
		return l.run(func() {}), true
	}
	if l.waiting.Load() > 0 {
		return nil, false
	}
	if l.background.Add(1) > int64(max(cap(l.slots)/2, 1)) {
		l.background.Add(-1)
		return nil, false
	}
	select {
	case l.slots <- struct{}{}:
		return l.run(func() {
			<-l.slots
			l.background.Add(-1)
		}), true
	default:
		l.background.Add(-1)
		return nil, false
	}
}

func (l *Limiter) run(free func()) func() {
	l.running.Add(1)
	return func() {
		l.running.Add(-1)
		free()
	}
}

// Running is the number of requests that are being served.
func (l *Limiter) Running() int64 { return l.running.Load() }

// Waiting is the number of requests in the queue.
func (l *Limiter) Waiting() int64 { return l.waiting.Load() }

// Rejected is how many requests were turned away for a reason.
func (l *Limiter) Rejected(reason string) int64 {
	for i, known := range reasons {
		if known.name == reason {
			return l.rejected[i].Load()
		}
	}
	return 0
}
