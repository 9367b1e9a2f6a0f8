package keyed

import (
	"context"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// Single is a controller of one thing, with one worker. NewSingle makes it; controllers embed it.
type Single struct {
	// Queue holds the one key, the name of the controller.
	Queue Queue[string]
	loop  *Loop[string]
}

// NewSingle prepares a controller. Its sync brings the one thing to what is wanted and returns when to look again;
// zero is only on an event.
func NewSingle(name string, clock clock.WithTicker, sync func(context.Context) (time.Duration, error)) *Single {
	queue := NewQueue[string](name, clock, nil)
	return &Single{Queue: queue, loop: New(Options[string]{
		Name: name, Queue: queue, Classify: Insist,
		Sync: func(ctx context.Context, _ string) (time.Duration, error) { return sync(ctx) },
	})}
}

// Await adds caches that Run waits for.
func (s *Single) Await(synced ...cache.InformerSynced) {
	s.loop.Synced = append(s.loop.Synced, synced...)
}

// Enqueue asks for a sync soon.
func (s *Single) Enqueue() { s.Queue.Add(s.loop.Name) }

// EnqueueAfter asks for a sync after some time.
func (s *Single) EnqueueAfter(after time.Duration) { s.Queue.AddAfter(s.loop.Name, after) }

// Run waits for the caches and works until ctx ends and the last sync has ended.
func (s *Single) Run(ctx context.Context) { s.loop.Run(ctx, 1, s.Enqueue) }

// Insist sorts the outcome of a sync whose work has to be done, whatever was not found on the way. Several errors are
// a conflict when each of them is one: any other must be heard of.
func Insist(err error) Verdict {
	switch {
	case err == nil:
		return Done
	case conflict(err):
		return Again
	}
	return Later
}

func conflict(err error) bool {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		return !slices.ContainsFunc(several.Unwrap(), func(one error) bool { return !conflict(one) })
	}
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)
}
