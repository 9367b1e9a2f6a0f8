package online

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/gc"

	"go.uber.org/zap"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	testingclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
)

// cluster is what several replicas share.
type cluster struct {
	t      *testing.T
	leases Leases
	clock  *testingclock.FakeClock
}

func newCluster(t *testing.T) *cluster {
	return &cluster{t: t, leases: NewLocalLeases(), clock: testingclock.NewFakeClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))}
}

// replica is a Service whose collections do what the test says.
type replica struct {
	*Service
	leases *flaky
	// steps is what proceed answered to each wish to remove something; finish lets the
	// collection end by itself.
	steps  chan error
	finish chan error
}

// flaky are Leases that can stop to answer.
type flaky struct {
	Leases
	down    atomic.Bool
	updates atomic.Int64
}

var errDown = errors.New("no answer")

func (f *flaky) Get(ctx context.Context, name string, o metav1.GetOptions) (*coordinationv1.Lease, error) {
	if f.down.Load() {
		return nil, errDown
	}
	return f.Leases.Get(ctx, name, o)
}

func (f *flaky) Update(ctx context.Context, lease *coordinationv1.Lease, o metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	if f.down.Load() {
		return nil, errDown
	}
	f.updates.Add(1)
	return f.Leases.Update(ctx, lease, o)
}

func (c *cluster) replica(name string) *replica {
	c.t.Helper()
	r := &replica{leases: &flaky{Leases: c.leases}, steps: make(chan error, 1000), finish: make(chan error)}
	var err error
	r.Service, err = New(Options{Leases: r.leases, Identity: name, Clock: c.clock, Log: zap.NewNop(), Collect: r.collect})
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// collect removes one blob a time for as long as it may.
func (r *replica) collect(ctx context.Context, task Task, proceed func() error, note func(gc.Report)) (gc.Report, error) {
	found := gc.Report{Phase: gc.PhaseDelete}
	for {
		select {
		case err := <-r.finish:
			return found, err
		case <-time.After(time.Millisecond):
		}
		if err := proceed(); err != nil {
			return found, err
		}
		found.DeletedBlobs++
		found.Candidates = []gc.Candidate{{Digest: "sha256:aa", Size: 1}}
		note(found)
	}
}

func (c *cluster) start(r *replica, task Task) gc.Report {
	c.t.Helper()
	report, err := r.Start(c.t.Context(), task)
	if err != nil {
		c.t.Fatal(err)
	}
	return report
}

// await polls the report at a replica until it is as wanted, and steps the clock each time.
func (c *cluster) await(r *replica, id string, step time.Duration, want func(gc.Report) bool) gc.Report {
	c.t.Helper()
	var report gc.Report
	err := wait.PollUntilContextTimeout(c.t.Context(), 2*time.Millisecond, 20*time.Second, true, func(ctx context.Context) (bool, error) {
		c.clock.Step(step)
		var err error
		report, err = r.Report(ctx, id)
		return err == nil && want(report), nil
	})
	if err != nil {
		c.t.Fatalf("collection %s: %v; last report %+v", id, err, report)
	}
	return report
}

func is(state gc.State) func(gc.Report) bool {
	return func(r gc.Report) bool { return r.State == state }
}

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

func packed(t testing.TB, raw []byte) string {
	t.Helper()
	var buffer bytes.Buffer
	writer := gzip.NewWriter(&buffer)
	if _, err := writer.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(buffer.Bytes())
}

func TestDamagedReportsAreNamedAndBounded(t *testing.T) {
	const id = `"id":"3c7ad2d2-93e7-4b1b-8e0a-1d1d5f0d8a11"`
	whole := packed(t, []byte(`{`+id+`,"state":"Succeeded"}`))
	for name, text := range map[string]string{
		"empty":         "",
		"no base64":     "?" + whole,
		"no gzip":       base64.StdEncoding.EncodeToString([]byte("{}")),
		"cut":           whole[:len(whole)/8*4],
		"no JSON":       packed(t, []byte("{")),
		"no object":     packed(t, []byte("[1]")),
		"no id":         packed(t, []byte(`{"state":"Running"}`)),
		"bad id":        packed(t, []byte(`{"id":"../x","state":"Running"}`)),
		"unknown state": packed(t, []byte(`{`+id+`,"state":"Perhaps"}`)),
		"bomb":          packed(t, bytes.Repeat([]byte(" "), 64<<20)),
		"too long":      strings.Repeat("A", maxAnnotation+1),
		"wrong type":    packed(t, []byte(`{`+id+`,"state":"Running","candidates":"all"}`)),
	} {
		c := newCluster(t)
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: imagev1.GCLeaseName, Annotations: map[string]string{imagev1.GCReportAnnotation: text}}}
		if _, err := c.leases.Create(t.Context(), lease, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		a := c.replica("a")
		_, err := a.Report(t.Context(), "3c7ad2d2-93e7-4b1b-8e0a-1d1d5f0d8a11")
		var damaged *DamagedError
		if !errors.As(err, &damaged) {
			t.Errorf("%s: %v, want that it is damaged", name, err)
		}
		c.start(a, Task{}) // replaces it
		a.Stop()
	}
	if _, err := decode(whole); err != nil {
		t.Errorf("the whole one: %v", err)
	}
}

func TestTheLargestReportFits(t *testing.T) {
	report := gc.Report{ID: "3c7ad2d2-93e7-4b1b-8e0a-1d1d5f0d8a11", State: gc.StateFailed, Message: strings.Repeat("\x01", 1<<20)}
	state := uint64(1)
	random := func() string {
		var text strings.Builder
		for range 4 {
			state = state*6364136223846793005 + 1442695040888963407
			fmt.Fprintf(&text, "%016x", state)
		}
		return text.String()
	}
	for range 5000 {
		report.Candidates = append(report.Candidates, gc.Candidate{Digest: "sha256:" + random(), Size: 1 << 40})
		report.RepositoryNames = append(report.RepositoryNames, random()+"/"+random()+random())
		report.Errors = append(report.Errors, strings.Repeat(random()+"\xff\x00", 20))
	}
	text, err := encode(report)
	if err != nil || len(text) > maxAnnotation {
		t.Fatalf("%d bytes, %v", len(text), err)
	}
	back, err := decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if len(back.Candidates) == 0 || len(back.Candidates) > maxCandidates || len(back.RepositoryNames) == 0 || len(back.RepositoryNames) > maxNames || len(back.Errors) == 0 || len(back.Errors) > maxErrors {
		t.Errorf("%d candidates, %d names, %d errors", len(back.Candidates), len(back.RepositoryNames), len(back.Errors))
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("")
	f.Add(packed(f, []byte(`{"id":"3c7ad2d2-93e7-4b1b-8e0a-1d1d5f0d8a11","state":"Running","candidates":[{"digest":"x","size":1}]}`)))
	f.Fuzz(func(t *testing.T, text string) {
		report, err := decode(text)
		if err != nil {
			var damaged *DamagedError
			if !errors.As(err, &damaged) {
				t.Fatal(err)
			}
			return
		}
		if _, err := encode(report); err != nil {
			t.Fatal(err)
		}
	})
}
