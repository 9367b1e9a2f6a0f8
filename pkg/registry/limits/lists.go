package limits

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// maxNamespaces bounds what is remembered. The entries are small, and above it the
	// expired ones go, or all.
	maxNamespaces = 4096
	// listTimeout ends a list that the API server does not answer.
	listTimeout = 15 * time.Second
)

// lists remembers one answer for each namespace.
type lists[T any] struct {
	options Options
	read    func(ctx context.Context, namespace string) (T, error)
	flight  singleflight.Group

	mu    sync.Mutex
	known map[string]entry[T]
}

type entry[T any] struct {
	value T
	until time.Time
}

func newLists[T any](options Options, read func(context.Context, string) (T, error)) *lists[T] {
	return &lists[T]{options: options, read: read, known: map[string]entry[T]{}}
}

// get answers from memory while that is young enough.
func (l *lists[T]) get(ctx context.Context, namespace string) (T, error) {
	l.mu.Lock()
	found, ok := l.known[namespace]
	l.mu.Unlock()
	if ok && l.options.Now().Before(found.until) {
		return found.value, nil
	}
	return l.fresh(ctx, namespace)
}

// fresh reads, together with everybody who waits for the same list. Whoever leaves does not
// end it for the others.
func (l *lists[T]) fresh(ctx context.Context, namespace string) (T, error) {
	result := l.flight.DoChan(namespace, func() (_ any, err error) {
		// A panic here would end the process: no request's recovery reaches this goroutine.
		defer func() {
			if reason := recover(); reason != nil {
				err = fmt.Errorf("panic: %v\n%s", reason, debug.Stack())
			}
		}()
		shared, cancel := context.WithTimeout(context.WithoutCancel(ctx), listTimeout)
		defer cancel()
		started := l.options.Now()
		value, err := l.read(shared, namespace)
		if err == nil {
			l.remember(namespace, value, started.Add(l.options.TTL))
		}
		return value, err
	})
	var none T
	select {
	case <-ctx.Done():
		return none, ctx.Err()
	case answer := <-result:
		if answer.Err != nil {
			return none, fmt.Errorf("limits of namespace %s: %w", namespace, answer.Err)
		}
		value, _ := answer.Val.(T)
		return value, nil
	}
}

func (l *lists[T]) remember(namespace string, value T, until time.Time) {
	now := l.options.Now()
	if !now.Before(until) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.known[namespace]; !known && len(l.known) >= maxNamespaces {
		for name, old := range l.known {
			if !now.Before(old.until) {
				delete(l.known, name)
			}
		}
		if len(l.known) >= maxNamespaces {
			clear(l.known)
		}
	}
	l.known[namespace] = entry[T]{value, until}
}
