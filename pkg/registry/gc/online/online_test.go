package online

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/gc"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
)

// Behaviour 86: the report on another replica, the second POST.
func TestACollectionIsSeenEverywhereAndRunsAlone(t *testing.T) {
	c := newCluster(t)
	a, b := c.replica("a"), c.replica("b")
	defer a.Stop()
	started := c.start(a, Task{DryRun: true, MinAge: time.Hour})
	if started.State != gc.StateRunning || started.Phase != gc.PhaseMetadata || !started.DryRun || time.Duration(started.MinAge) != time.Hour || !started.StartTime.Time.Equal(c.clock.Now()) {
		t.Errorf("first report %+v", started)
	}
	for _, r := range []*replica{a, b} {
		_, err := r.Start(t.Context(), Task{})
		var running *RunningError
		if !errors.As(err, &running) || running.ID != started.ID {
			t.Errorf("second start: %v, want that %s runs", err, started.ID)
		}
	}
	report := c.await(b, started.ID, time.Second, func(r gc.Report) bool { return r.DeletedBlobs > 0 })
	if report.State != gc.StateRunning || len(report.Candidates) != 0 {
		t.Errorf("running report %+v, want numbers without lists", report)
	}
	a.finish <- nil
	report = c.await(b, started.ID, 0, is(gc.StateSucceeded))
	if len(report.Candidates) != 1 || report.CompletionTime == nil || report.Message != "" {
		t.Errorf("final report %+v", report)
	}
	if _, err := b.Report(t.Context(), "0f9c1b3a-0000-0000-0000-000000000000"); !errors.Is(err, ErrUnknown) {
		t.Errorf("another id: %v", err)
	}
	next := c.start(b, Task{})
	defer b.Stop()
	if _, err := a.Report(t.Context(), started.ID); !errors.Is(err, ErrUnknown) {
		t.Errorf("the report before the last: %v", err)
	}
	c.await(a, next.ID, 0, is(gc.StateRunning))
}

// Behaviour 86: a killed replica.
func TestASilentCollectionHasFailedAndIsTakenOver(t *testing.T) {
	c := newCluster(t)
	killed, other := c.replica("killed"), c.replica("other")
	defer other.Stop()
	started := c.start(killed, Task{MinAge: time.Hour})
	// From here on nothing of the killed one reaches the cluster.
	killed.leases.down.Store(true)
	c.clock.Step(leaseDuration - time.Second)
	var running *RunningError
	if _, err := other.Start(t.Context(), Task{}); !errors.As(err, &running) {
		t.Errorf("a start while the lease lasts: %v", err)
	}
	c.clock.Step(time.Second)
	report := c.await(other, started.ID, 0, is(gc.StateFailed))
	if report.Message != "interrupted" || report.CompletionTime == nil {
		t.Errorf("report %+v, want interrupted", report)
	}
	next := c.start(other, Task{MinAge: time.Hour})
	if next.ID == started.ID {
		t.Error("the same id twice")
	}
	killed.leases.down.Store(false)
	killed.Stop()
	c.await(other, next.ID, 0, is(gc.StateRunning)) // the late one has not overwritten it
}

// Behaviour 86: a lost Lease. Nothing is removed after 40 s without a renewal, and nobody
// else may begin before.
func TestACollectionThatCannotRenewEndsBeforeAnotherMayBegin(t *testing.T) {
	c := newCluster(t)
	a, b := c.replica("a"), c.replica("b")
	defer a.Stop()
	started := c.start(a, Task{MinAge: time.Hour})
	c.await(a, started.ID, time.Second, func(r gc.Report) bool { return r.DeletedBlobs > 0 })
	a.leases.down.Store(true)
	lease, err := c.leases.Get(t.Context(), imagev1.GCLeaseName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	left := lostAfter - c.clock.Since(lease.Spec.RenewTime.Time)
	c.clock.Step(left - time.Second)
	if err := a.current.proceed(); err != nil {
		t.Errorf("a second before the end: %v", err)
	}
	current := a.current
	c.clock.Step(time.Second)
	if err := current.proceed(); !errors.Is(err, errSilent) {
		t.Errorf("after %s of silence: %v", lostAfter, err)
	}
	var running *RunningError
	if _, err := b.Start(t.Context(), Task{}); !errors.As(err, &running) {
		t.Errorf("another start at the same moment: %v", err)
	}
	a.leases.down.Store(false)
	report := c.await(b, started.ID, time.Second, is(gc.StateFailed))
	if !strings.Contains(report.Message, "could not be renewed") && report.Message != "interrupted" {
		t.Errorf("message %q", report.Message)
	}
	report = c.await(b, started.ID, time.Second, func(r gc.Report) bool { return strings.Contains(r.Message, "could not be renewed") })
	if report.Phase != gc.PhaseDelete || report.DeletedBlobs == 0 {
		t.Errorf("report %+v, want what was done until then", report)
	}
}

func TestRenewalsKeepTheLease(t *testing.T) {
	c := newCluster(t)
	a, b := c.replica("a"), c.replica("b")
	defer a.Stop()
	started := c.start(a, Task{MinAge: time.Hour})
	for range 20 {
		before := a.leases.updates.Load()
		c.await(b, started.ID, 500*time.Millisecond, func(r gc.Report) bool { return a.leases.updates.Load() > before && r.State == gc.StateRunning })
	}
	if passed := c.clock.Since(started.StartTime.Time); passed < 20*renewInterval {
		t.Errorf("20 renewals in %s", passed)
	}
	if err := a.current.proceed(); err != nil {
		t.Errorf("the collection may not go on: %v", err)
	}
}

func TestALeaseThatSomebodyElseTookEndsTheCollection(t *testing.T) {
	c := newCluster(t)
	a, b := c.replica("a"), c.replica("b")
	started := c.start(a, Task{MinAge: time.Hour})
	lease, err := c.leases.Get(t.Context(), imagev1.GCLeaseName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lease.Spec.HolderIdentity = nil // as an administrator might
	if _, err := c.leases.Update(t.Context(), lease, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	next := c.start(b, Task{MinAge: time.Hour})
	defer b.Stop()
	current := a.current
	err = wait.PollUntilContextTimeout(t.Context(), time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) {
		c.clock.Step(time.Second / 2)
		return errors.Is(current.proceed(), errTaken), nil
	})
	if err != nil {
		t.Fatalf("the collection goes on: %v", current.proceed())
	}
	a.Stop()
	if report, err := a.Report(t.Context(), next.ID); err != nil || report.ID == started.ID {
		t.Errorf("report %+v (%v), want that of the new holder", report, err)
	}
}

func TestChangesBesidesTheReportDoNotEndTheCollection(t *testing.T) {
	c := newCluster(t)
	a := c.replica("a")
	defer a.Stop()
	started := c.start(a, Task{MinAge: time.Hour})
	lease, err := c.leases.Get(t.Context(), imagev1.GCLeaseName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lease.Labels = map[string]string{"team": "x"}
	delete(lease.Annotations, imagev1.GCReportAnnotation)
	if _, err := c.leases.Update(t.Context(), lease, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Report(t.Context(), started.ID); !errors.Is(err, ErrUnknown) {
		t.Errorf("a report without annotation: %v", err)
	}
	c.await(a, started.ID, time.Second, is(gc.StateRunning))
	a.finish <- nil
	c.await(a, started.ID, 0, is(gc.StateSucceeded))
	if lease, err = c.leases.Get(t.Context(), imagev1.GCLeaseName, metav1.GetOptions{}); err != nil || lease.Labels["team"] != "x" {
		t.Errorf("labels %v (%v)", lease.Labels, err)
	}
}

func TestTheEndOfTheProcessEndsTheCollectionWithAReport(t *testing.T) {
	c := newCluster(t)
	a, b := c.replica("a"), c.replica("b")
	started := c.start(a, Task{MinAge: time.Hour})
	a.Stop()
	report, err := b.Report(t.Context(), started.ID)
	if err != nil || report.State != gc.StateFailed || !strings.Contains(report.Message, "told to end") {
		t.Errorf("report %+v (%v)", report, err)
	}
	if _, err := a.Start(t.Context(), Task{}); !errors.Is(err, ErrEnding) {
		t.Errorf("a start while ending: %v", err)
	}
	c.start(b, Task{}) // at once
	b.Stop()
}

func TestAnErrorAndAPanicOfTheCollectorAreReported(t *testing.T) {
	c := newCluster(t)
	a := c.replica("a")
	defer a.Stop()
	started := c.start(a, Task{})
	a.finish <- errors.New("list of images: no answer")
	if report := c.await(a, started.ID, 0, is(gc.StateFailed)); report.Message != "list of images: no answer" {
		t.Errorf("message %q", report.Message)
	}
	a.options.Collect = func(context.Context, Task, func() error, func(gc.Report)) (gc.Report, error) { panic("boom") }
	started = c.restart(a)
	if report := c.await(a, started.ID, 0, is(gc.StateFailed)); !strings.Contains(report.Message, "internal error") {
		t.Errorf("message %q", report.Message)
	}
}

// restart starts as soon as the last collection has ended in its process, too.
func (c *cluster) restart(r *replica) (report gc.Report) {
	c.t.Helper()
	err := wait.PollUntilContextTimeout(c.t.Context(), time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		var err error
		report, err = r.Start(ctx, Task{})
		return err == nil, nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return report
}

func TestOneOfManyStartsWins(t *testing.T) {
	c := newCluster(t)
	var wins atomic.Int64
	var group sync.WaitGroup
	for i := range 8 {
		r := c.replica(fmt.Sprint("r", i))
		defer r.Stop()
		group.Go(func() {
			if _, err := r.Start(t.Context(), Task{}); err == nil {
				wins.Add(1)
			}
		})
	}
	group.Wait()
	if wins.Load() != 1 {
		t.Errorf("%d of 8 collections were started at the same time", wins.Load())
	}
}

func TestAReplicaIsNotHeldUpByItsOwnLostAnswer(t *testing.T) {
	c := newCluster(t)
	first := c.replica("a")
	c.start(first, Task{})
	first.leases.down.Store(true)
	// The same process, which never heard that its first attempt had come through.
	again := c.replica("a")
	c.start(again, Task{})
	again.Stop()
	first.leases.down.Store(false)
	first.Stop()
}

func TestAClockFarAheadDoesNotBlockCollections(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		renewed time.Duration
		want    bool
	}{{0, true}, {-59 * time.Second, true}, {-60 * time.Second, false}, {59 * time.Second, true}, {time.Hour, false}} {
		lease := &coordinationv1.Lease{}
		lease.Spec.HolderIdentity = ptr.To("a/b")
		lease.Spec.RenewTime = ptr.To(metav1.NewMicroTime(now.Add(test.renewed)))
		if got := isHeld(lease, now); got != test.want {
			t.Errorf("renewed %s from now: held %t, want %t", test.renewed, got, test.want)
		}
	}
}

// slowAnswers are Leases that store at once and answer when they are let.
type slowAnswers struct {
	Leases
	hold atomic.Bool
	let  chan struct{}
}

func (s *slowAnswers) Update(ctx context.Context, lease *coordinationv1.Lease, o metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	lease, err := s.Leases.Update(ctx, lease, o)
	if s.hold.Load() {
		<-s.let
	}
	return lease, err
}

// Whoever reads that a collection has ended may ask for the next one, also while the
// process still waits for the answer to its last report.
func TestTheNextCollectionMayBeginWhenTheReportSaysThatTheLastHasEnded(t *testing.T) {
	c := newCluster(t)
	slow := &slowAnswers{Leases: c.leases, let: make(chan struct{})}
	r := c.replica("a")
	r.leases.Leases = slow
	first := c.start(r, Task{})
	slow.hold.Store(true)
	r.finish <- nil
	c.await(r, first.ID, 0, is(gc.StateSucceeded))
	began := make(chan error, 1)
	go func() {
		_, err := r.Start(t.Context(), Task{})
		began <- err
	}()
	slow.hold.Store(false)
	close(slow.let)
	if err := <-began; err != nil {
		t.Errorf("the next collection: %v", err)
	}
	r.Stop()
}
