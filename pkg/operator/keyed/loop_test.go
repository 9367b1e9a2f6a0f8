package keyed

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
)

func TestOutcomesAreSorted(t *testing.T) {
	resource := corev1.Resource("secrets")
	terminating := apierrors.NewForbidden(resource, "x", errors.New("terminating"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	for want, errs := range map[Verdict][]error{
		Done:  {nil, apierrors.NewNotFound(resource, "x"), fmt.Errorf("wrapped: %w", terminating)},
		Again: {apierrors.NewConflict(resource, "x", nil), apierrors.NewAlreadyExists(resource, "x")},
		Later: {apierrors.NewForbidden(resource, "x", nil), apierrors.NewTooManyRequests("x", 3), apierrors.NewInternalError(errors.New("x")), context.DeadlineExceeded},
	} {
		for _, err := range errs {
			if got := Classify(err); got != want {
				t.Errorf("%v: verdict %d, want %d", err, got, want)
			}
		}
	}
}

// recorder is a queue that remembers what is put into it.
type recorder struct {
	Queue[string]
	after   []time.Duration
	limited int
}

func (r *recorder) AddAfter(_ string, after time.Duration) { r.after = append(r.after, after) }
func (r *recorder) AddRateLimited(string)                  { r.limited++ }

func process(t *testing.T, loop *Loop[string]) *recorder {
	t.Helper()
	r := &recorder{Queue: NewQueue[string]("test", clock.RealClock{}, nil)}
	defer r.ShutDown()
	loop.Queue = r
	r.Add("key")
	if !loop.ProcessOne(t.Context()) {
		t.Fatal("the queue is closed")
	}
	return r
}

func TestEachOutcomeIsFollowedInItsOwnWay(t *testing.T) {
	tests := []struct {
		name    string
		after   time.Duration
		err     error
		want    []time.Duration
		limited int
	}{
		{"done for good", 0, nil, nil, 0},
		{"done until later", time.Minute, nil, []time.Duration{time.Minute}, 0},
		{"never longer than the longest", time.Hour, nil, []time.Duration{2 * time.Minute}, 0},
		{"a conflict is tried again at once", time.Hour, apierrors.NewConflict(corev1.Resource("secrets"), "x", nil), []time.Duration{conflictDelay}, 0},
		{"the API server's delay is kept", 0, apierrors.NewTooManyRequests("x", 7), []time.Duration{7 * time.Second}, 0},
		{"everything else backs off", time.Hour, errors.New("x"), nil, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := process(t, New(Options[string]{
				Longest: 2 * time.Minute,
				Sync:    func(context.Context, string) (time.Duration, error) { return test.after, test.err },
			}))
			if fmt.Sprint(got.after) != fmt.Sprint(test.want) || got.limited != test.limited {
				t.Errorf("delays %v and %d back-offs, want %v and %d", got.after, got.limited, test.want, test.limited)
			}
		})
	}
}

// While a watch hangs, the same conflict comes again and again.
func TestConflictsThatLastAreTriedMoreAndMoreSlowly(t *testing.T) {
	loop := New(Options[string]{Sync: func(context.Context, string) (time.Duration, error) {
		return 0, apierrors.NewConflict(corev1.Resource("secrets"), "x", nil)
	}})
	var last time.Duration
	for range 10 {
		next := process(t, loop).after[0]
		if next < last {
			t.Fatalf("%s after %s", next, last)
		}
		last = next
	}
	if last != longestConflict {
		t.Errorf("the tenth attempt waits %s, want %s", last, longestConflict)
	}
}

func TestRunEndsAfterTheLastSync(t *testing.T) {
	queue := NewQueue[string]("test", clock.RealClock{}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var ended atomic.Bool
	entered := make(chan struct{})
	loop := New(Options[string]{Queue: queue, Sync: func(ctx context.Context, _ string) (time.Duration, error) {
		close(entered)
		<-ctx.Done()
		ended.Store(true)
		return 0, ctx.Err()
	}})
	go func() { <-entered; cancel() }()
	loop.Run(ctx, 3, func() { queue.Add("key") })
	if !ended.Load() {
		t.Error("Run returned before the sync")
	}
}
