// Package keyed runs the controllers: a queue, its workers, and one verdict about what follows an error.
//
// In: a rate limited queue, the caches to wait for, and a function that brings one key to what is wanted and
// says when to look again. Out: calls of that function, never two at a time for one key. A conflict is tried
// again at once and then more and more slowly, and an API server that names a delay gets it; everything else
// backs off as the queue says. Loop is for controllers with many keys, where what vanished or is vanishing is
// done; Single is for those with one, which insist.
//
// It decides nothing about objects and writes nothing. It logs errors, so they must hold no secret.
package keyed

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

const (
	// conflictDelay lets the event arrive that made the cache stale. While a watch hangs, every attempt would
	// meet the same conflict, so the delay grows.
	conflictDelay   = 100 * time.Millisecond
	longestConflict = 5 * time.Second
	// minBackoff and maxBackoff are for errors of queues that NewQueue makes.
	minBackoff = time.Second
	maxBackoff = 5 * time.Minute
)

// Verdict says what follows a sync.
type Verdict int

// The verdicts.
const (
	// Done: nothing until the next event, or the next look.
	Done Verdict = iota
	// Again: somebody else was faster; decide anew.
	Again
	// Later: with back-off.
	Later
)

// Classify sorts the outcome of a sync. What is not there any more needs no work, and nothing can be made in
// a namespace that is being deleted.
func Classify(err error) Verdict {
	switch {
	case err == nil, apierrors.IsNotFound(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return Done
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return Again
	}
	return Later
}

// Queue is what a loop takes its keys from.
type Queue[K comparable] = workqueue.TypedRateLimitingInterface[K]

// NewQueue builds the rate limited queue of a controller; order may be nil, which is first in, first out.
func NewQueue[K comparable](name string, clock clock.WithTicker, order workqueue.Queue[K]) Queue[K] {
	ordered := workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[K]{Name: name, Clock: clock, Queue: order})
	delaying := workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[K]{Name: name, Clock: clock, Queue: ordered})
	return workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.NewTypedItemExponentialFailureRateLimiter[K](minBackoff, maxBackoff),
		workqueue.TypedRateLimitingQueueConfig[K]{Clock: clock, DelayingQueue: delaying})
}

// Loop is one controller. New makes it.
type Loop[K comparable] struct {
	Options[K]
	conflicts workqueue.TypedRateLimiter[K]
}

// Options are what a loop needs; every field without a note is required.
type Options[K comparable] struct {
	// Name is the controller in the log.
	Name  string
	Queue Queue[K]
	// Synced are the caches to wait for; optional.
	Synced []cache.InformerSynced
	// Sync brings one key to what is wanted. It returns when to look again; zero is only on an event.
	Sync func(context.Context, K) (time.Duration, error)
	// Longest bounds that time; zero does not. A timer knows nothing of a clock that was set, or of a
	// machine that slept.
	Longest time.Duration
	// Observe hears the outcome of each sync; optional.
	Observe func(K, error)
	// Classify sorts the outcome of a sync; it defaults to the function of that name.
	Classify func(error) Verdict
}

// New prepares a loop.
func New[K comparable](o Options[K]) *Loop[K] {
	if o.Classify == nil {
		o.Classify = Classify
	}
	return &Loop[K]{Options: o, conflicts: workqueue.NewTypedItemExponentialFailureRateLimiter[K](conflictDelay, longestConflict)}
}

// Run waits for the caches, calls begin and works until ctx ends and the last sync has ended.
func (l *Loop[K]) Run(ctx context.Context, workers int, begin func()) {
	defer utilruntime.HandleCrashWithContext(ctx)
	var group wait.Group
	defer group.Wait()
	defer l.Queue.ShutDown()
	if !cache.WaitForCacheSync(ctx.Done(), l.Synced...) {
		return
	}
	begin()
	for range max(workers, 1) {
		group.StartWithContext(ctx, func(ctx context.Context) {
			for l.ProcessOne(ctx) {
			}
		})
	}
	<-ctx.Done()
}

// ProcessOne waits for one key and works on it; it returns false when the queue is closed.
func (l *Loop[K]) ProcessOne(ctx context.Context) bool {
	key, shutdown := l.Queue.Get()
	if shutdown {
		return false
	}
	defer l.Queue.Done(key)
	after, err := l.Sync(ctx, key)
	if l.Observe != nil {
		l.Observe(key, err)
	}
	switch l.Classify(err) {
	case Done:
		l.Queue.Forget(key)
		l.conflicts.Forget(key)
		l.lookAgain(key, after)
	case Again:
		l.Queue.AddAfter(key, l.conflicts.When(key))
	case Later:
		l.later(ctx, key, err)
	}
	return true
}

func (l *Loop[K]) lookAgain(key K, after time.Duration) {
	switch {
	case after <= 0:
	case l.Longest > 0:
		l.Queue.AddAfter(key, min(after, l.Longest))
	default:
		l.Queue.AddAfter(key, after)
	}
}

// later backs off. Who says when to come again is not asked before, nor logged about: it is an answer.
func (l *Loop[K]) later(ctx context.Context, key K, err error) {
	if seconds, ok := apierrors.SuggestsClientDelay(err); ok && seconds > 0 {
		l.Queue.AddAfter(key, time.Duration(seconds)*time.Second)
		return
	}
	if ctx.Err() != nil {
		return // the process ends; nothing failed
	}
	klog.FromContext(ctx).Error(err, "Sync failed", "controller", l.Name, "key", key)
	l.Queue.AddRateLimited(key)
}
