package keyed

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
)

func TestWhatHasToBeDoneIsInsistedOn(t *testing.T) {
	resource := corev1.Resource("secrets")
	conflict, missing := apierrors.NewConflict(resource, "x", nil), apierrors.NewNotFound(resource, "x")
	for want, errs := range map[Verdict][]error{
		Done:  {nil, errors.Join(nil, nil)},
		Again: {conflict, fmt.Errorf("write: %w", conflict), apierrors.NewAlreadyExists(resource, "x"), errors.Join(conflict, fmt.Errorf("write: %w", conflict))},
		Later: {missing, errors.New("x"), context.DeadlineExceeded, errors.Join(conflict, missing), errors.Join(conflict, errors.Join(conflict, errors.New("x")))},
	} {
		for _, err := range errs {
			if got := Insist(err); got != want {
				t.Errorf("%v: verdict %d, want %d", err, got, want)
			}
		}
	}
}

func TestASingleControllerSyncsOnceItsCachesAreFilled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	filled, syncs := false, 0
	single := NewSingle("test", clock.RealClock{}, func(context.Context) (time.Duration, error) {
		syncs++
		switch {
		case !filled:
			t.Error("synced before the caches were filled")
		case syncs == 1:
			return time.Millisecond, nil // looked at again
		case syncs == 2:
			return 0, apierrors.NewConflict(corev1.Resource("secrets"), "x", nil)
		}
		cancel()
		return 0, nil
	})
	single.Await(func() bool { filled = true; return true })
	single.Enqueue()
	single.Enqueue()
	if n := single.Queue.Len(); n != 1 {
		t.Errorf("%d keys wait, want one", n)
	}
	single.Run(ctx)
	if syncs != 3 {
		t.Errorf("%d syncs, want the first, the next look, and another one after the conflict", syncs)
	}
}
