// Package online runs collections on request, one at a time in the whole cluster.
//
// In come requests for a collection and questions about the last one; out come reports.
// The Lease image-registry-gc says which replica collects: it is renewed while the
// collection runs in the background, and carries the report in an annotation, so that
// every replica can answer and a report outlives its replica. A collection ends before
// its next deletion when the process is told to end, when another replica took the
// Lease, and when the Lease could not be renewed for 40 seconds, which is earlier than
// anybody else may take it.
//
// What is collected is not decided here: that is the function Collect. Nothing is
// written to the storage, and no collection starts by itself.
package online

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"image.alauda.io/registry/pkg/registry/gc"

	"github.com/google/uuid"
	"go.uber.org/zap"
	"k8s.io/utils/clock"
)

// Times of the Lease.
const (
	// leaseDuration is how long others respect a holder that is silent.
	leaseDuration = 60 * time.Second
	// renewInterval is the time between two renewals, retryInterval that after one
	// that failed.
	renewInterval = 15 * time.Second
	retryInterval = 2 * time.Second
	// lostAfter is how long renewals may fail before the collection ends.
	lostAfter = 40 * time.Second
	// requestTimeout bounds one request to the API.
	requestTimeout = 10 * time.Second
	// lastWords is how long a process that collected tries to write its last report,
	// shutdownWords the same for a process that ends.
	lastWords     = 5 * time.Minute
	shutdownWords = 8 * time.Second
)

// Errors that callers tell apart.
var (
	// ErrUnknown: no collection has this id, or it is not the last one.
	ErrUnknown = errors.New("no such collection, or not the last one")
	// ErrEnding: the process is about to end and starts nothing.
	ErrEnding = errors.New("the registry is shutting down")

	errInterrupted = errors.New("interrupted: the registry was told to end")
	errSilent      = errors.New("the lease could not be renewed")
	errTaken       = errors.New("another replica has taken the lease")
)

// RunningError says that a collection runs already.
type RunningError struct {
	// ID of the running collection.
	ID string
}

// Error implements error.
func (e *RunningError) Error() string { return fmt.Sprintf("collection %s is running", e.ID) }

// DamagedError is a report that cannot be read. Its text may be shown.
type DamagedError struct{ Reason string }

// Error implements error.
func (e *DamagedError) Error() string {
	return "the report of the last collection is damaged: " + e.Reason
}

// Task says what to collect.
type Task struct {
	// DryRun only finds out.
	DryRun bool
	// MinAge is the age below which nothing is collected.
	MinAge time.Duration
	// AllowEmptyMetadata goes on although there is no Image.
	AllowEmptyMetadata bool
}

// Collect does one collection and ends with an error at the first thing that it cannot
// be sure of. It calls note now and then with what it knows so far, and returns what it
// knows in the end, also with an error. Before each removal it asks proceed, and returns
// its error.
type Collect func(ctx context.Context, task Task, proceed func() error, note func(gc.Report)) (gc.Report, error)

// Options of a Service.
type Options struct {
	// Leases of the registry's namespace; NewLocalLeases without a cluster.
	Leases Leases
	// Identity of the process, unique among all; "" makes one up.
	Identity string
	Collect  Collect
	Clock    clock.WithTicker
	Log      *zap.Logger
}

// Service runs collections. All methods may be used concurrently.
type Service struct {
	options Options

	mu      sync.Mutex
	current *collection
	ending  bool
	wait    sync.WaitGroup
	ended   chan struct{} // closed when the process is told to end
}

// New returns a Service. Nothing is started.
func New(options Options) (*Service, error) {
	if options.Leases == nil || options.Collect == nil || options.Clock == nil || options.Log == nil {
		return nil, errors.New("collections: leases, a collector, a clock and a log are needed")
	}
	if options.Identity == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		options.Identity = host + "_" + uuid.NewString()
	}
	return &Service{options: options, ended: make(chan struct{})}, nil
}

// Start begins a collection in the background and returns its first report. The error
// is a *RunningError while one runs anywhere, ErrEnding, or that of the API.
func (s *Service) Start(ctx context.Context, task Task) (gc.Report, error) {
	if err := s.lockFree(ctx); err != nil {
		return gc.Report{}, err
	}
	defer s.mu.Unlock()
	c := newCollection(s, task)
	report := c.snapshot()
	if err := c.lease.take(ctx, report); err != nil {
		return gc.Report{}, err
	}
	s.current = c
	s.options.Log.Info("collection started", zap.String("id", c.id), zap.Bool("dry_run", task.DryRun), zap.Duration("min_age", task.MinAge))
	s.wait.Go(func() { c.run() })
	return report, nil
}

// lockFree locks the service when no collection runs. It waits for one that has only its
// last report to write: a client that has read this report may ask for the next collection
// before the writer has seen that it was written.
func (s *Service) lockFree(ctx context.Context) error {
	for {
		s.mu.Lock()
		current := s.current
		switch {
		case s.ending:
			s.mu.Unlock()
			return ErrEnding
		case current == nil:
			return nil
		}
		s.mu.Unlock()
		if !current.over() {
			return &RunningError{ID: current.id}
		}
		select {
		case <-current.left:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Report returns the report of a collection: ErrUnknown when it is not the last one, a
// *DamagedError when nobody can read it.
func (s *Service) Report(ctx context.Context, id string) (gc.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	report, err := lastReport(ctx, s.options.Leases, s.options.Clock.Now())
	if err == nil && report.ID != id {
		return gc.Report{}, ErrUnknown
	}
	return report, err
}

// Interrupt lets a running collection end after its current object, and allows no other.
func (s *Service) Interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return
	}
	s.ending = true
	close(s.ended)
	if s.current != nil {
		s.current.cancel(errInterrupted)
	}
}

// Stop interrupts and waits until the last report is written, or given up.
func (s *Service) Stop() {
	s.Interrupt()
	s.wait.Wait()
}

func (s *Service) done(c *collection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == c {
		s.current = nil
		close(c.left)
	}
}

// holder is the identity of one collection: process and id, so that the id is known even
// if the report is damaged.
func holder(identity, id string) string { return identity + "/" + id }

func idOf(holder string) string { return holder[strings.LastIndex(holder, "/")+1:] }
