package collect

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"

	"image.alauda.io/registry/pkg/pruner/registry"
)

// lastOnly is a registry that, like the real one, runs one collection at a time and knows the last one.
type lastOnly struct {
	// takes is how long a collection runs.
	takes time.Duration

	mu    sync.Mutex
	count int
	last  registry.Collection
	began time.Time
}

// StartCollection implements Registry.
func (l *lastOnly) StartCollection(_ context.Context, task registry.Task) (registry.Collection, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refresh()
	if l.last.State == running {
		return registry.Collection{}, &registry.RunningError{ID: l.last.ID}
	}
	l.count++
	l.began = time.Now()
	l.last = collection(fmt.Sprint(l.count), task.DryRun, running, age(task.MinAge))
	return l.last, nil
}

// Collection implements Registry.
func (l *lastOnly) Collection(_ context.Context, id string) (registry.Collection, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refresh()
	if l.last.ID != id {
		return registry.Collection{}, registry.ErrGone
	}
	return l.last, nil
}

func (l *lastOnly) refresh() {
	if l.last.ID != "" && time.Since(l.began) >= l.takes {
		l.last.State = succ
	}
}

// Behaviour 63: clients that collect at the same time all come to their end, however their looks and
// collections fall together.
func TestCollectorsTogether(t *testing.T) {
	for _, takes := range []time.Duration{0, 20 * time.Millisecond, 300 * time.Millisecond, 7 * time.Second, 10 * time.Minute} {
		for _, apart := range []time.Duration{0, 100 * time.Millisecond, firstPoll, takes / 2, takes + time.Millisecond} {
			synctest.Test(t, func(t *testing.T) {
				l := &lastOnly{takes: takes}
				var group sync.WaitGroup
				for n := range 4 {
					group.Go(func() {
						time.Sleep(time.Duration(n) * apart)
						c := Collector{Settings: Settings{Confirm: true, MinAge: 2 * time.Hour, MaxDeletePercent: 50, Wait: 48 * time.Hour}, Registry: l, Clock: clock.RealClock{}}
						if report, err := c.Run(t.Context()); err != nil || report.DryRun {
							t.Errorf("collections of %s, clients %s apart: client %d ended with %+v, %v", takes, apart, n, report, err)
						}
					})
				}
				group.Wait()
			})
		}
	}
}

// A report that is always replaced does not keep a run for ever.
func TestReplacementsEndWithTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c := Collector{Settings: Settings{Wait: time.Minute}, Registry: forgetful{}, Clock: clock.RealClock{}}
		if _, err := c.Run(t.Context()); err == nil || time.Since(began) > 2*time.Minute {
			t.Errorf("error %v after %s", err, time.Since(began))
		}
	})
}

type forgetful struct{}

// StartCollection implements Registry.
func (forgetful) StartCollection(context.Context, registry.Task) (registry.Collection, error) {
	return collection("1", true, running), nil
}

// Collection implements Registry.
func (forgetful) Collection(context.Context, string) (registry.Collection, error) {
	return registry.Collection{}, registry.ErrGone
}
