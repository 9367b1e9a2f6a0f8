package online

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/gc"

	"go.uber.org/zap"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	testingclock "k8s.io/utils/clock/testing"
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
