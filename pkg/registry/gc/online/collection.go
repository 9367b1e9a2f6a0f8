package online

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"image.alauda.io/registry/pkg/registry/gc"

	"github.com/google/uuid"
	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// collection is one run in this process.
type collection struct {
	service *Service
	id      string
	task    Task
	lease   *held
	ctx     context.Context
	cancel  context.CancelCauseFunc
	left    chan struct{} // closed when another one may begin

	mu     sync.Mutex
	report gc.Report
}

func newCollection(s *Service, task Task) *collection {
	c := &collection{service: s, id: uuid.NewString(), task: task, left: make(chan struct{})}
	c.lease = &held{leases: s.options.Leases, clock: s.options.Clock, identity: s.options.Identity, id: c.id}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.report = c.identified(gc.Report{Phase: gc.PhaseMetadata, StartTime: metav1.NewTime(s.options.Clock.Now().UTC())}).Numbers()
	return c
}

// snapshot is the report as it is now.
func (c *collection) snapshot() gc.Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.report
}

// over tells whether nothing is left to do but to write the last report.
func (c *collection) over() bool { return c.snapshot().State != gc.StateRunning }

// identified puts what is known about the collection itself into a report.
func (c *collection) identified(report gc.Report) gc.Report {
	report.ID, report.State, report.Message = c.id, gc.StateRunning, ""
	report.DryRun, report.MinAge, report.CompletionTime = c.task.DryRun, gc.Duration(c.task.MinAge), nil
	return report
}

func (c *collection) note(report gc.Report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	report.StartTime = c.report.StartTime
	c.report = c.identified(report.Numbers())
}

// proceed tells whether the next removal may be made. It looks at the clock and not only
// at the goroutine that renews: after the process was stopped for a while, both would go
// on at the same moment.
func (c *collection) proceed() error {
	if c.lease.silence() >= lostAfter {
		c.cancel(fmt.Errorf("%w for %s", errSilent, lostAfter))
	}
	return context.Cause(c.ctx)
}

// run collects and reports to the end.
func (c *collection) run() {
	renewing := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(renewing)
		c.renew(stop)
	}()
	report, err := c.collect()
	close(stop)
	<-renewing
	c.finish(report, err)
	c.cancel(nil)
	c.publish()
}

// collect turns a panic into a failure: nobody would ever see why a collection is silent.
func (c *collection) collect() (report gc.Report, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			c.service.options.Log.Error("panic in a collection", zap.String("id", c.id), zap.Any("reason", reason), zap.Stack("stack"))
			report, err = c.snapshot(), errors.New("internal error, see the log of the registry")
		}
	}()
	return c.service.options.Collect(c.ctx, c.task, c.proceed, c.note)
}

func (c *collection) finish(report gc.Report, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	message := report.Message
	report.StartTime = c.report.StartTime
	c.report = c.identified(report)
	c.report.State, c.report.Message = gc.StateSucceeded, message
	c.report.CompletionTime = ptr.To(metav1.NewTime(c.service.options.Clock.Now().UTC()))
	if err != nil {
		if cause := context.Cause(c.ctx); cause != nil {
			err = cause
		}
		c.report.State, c.report.Message = gc.StateFailed, err.Error()
	}
	c.service.options.Log.Info("collection ended", zap.String("id", c.id), zap.String("state", string(c.report.State)),
		zap.String("message", c.report.Message), zap.Bool("dry_run", c.task.DryRun), zap.Int64("candidates", report.CandidateCount),
		zap.Int64("deleted_blobs", report.DeletedBlobs), zap.Int64("freed_bytes", report.FreedBytes), zap.Int("errors", len(report.Errors)))
}

// renew keeps the Lease until stop is closed, and ends the collection when it cannot.
func (c *collection) renew(stop <-chan struct{}) {
	next := renewInterval
	for {
		timer := c.service.options.Clock.NewTimer(min(next, max(lostAfter-c.lease.silence(), 0)))
		select {
		case <-stop:
			timer.Stop()
			return
		case <-timer.C():
		}
		if c.proceed() != nil {
			return
		}
		err := c.request(stop, func(ctx context.Context) error { return c.lease.write(ctx, c.snapshot(), true) })
		switch {
		case err == nil:
			next = renewInterval
			continue
		case isFinal(err):
			c.cancel(err)
			return
		}
		next = retryInterval
		c.service.options.Log.Warn("the lease of the collection cannot be renewed", zap.String("id", c.id), zap.Error(err))
	}
}

// request makes one request, which ends early when stop is closed and before the Lease
// would be lost.
func (c *collection) request(stop <-chan struct{}, do func(ctx context.Context) error) error {
	limit := requestTimeout
	if left := lostAfter - c.lease.silence(); left > 0 {
		limit = min(limit, left)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	asked := make(chan struct{})
	defer close(asked)
	go func() {
		select {
		case <-stop:
			cancel()
		case <-asked:
		}
	}()
	return do(ctx)
}

// publish writes the last report. It is worth some patience: without it, everybody reads
// only that the collection was interrupted. Nothing is overwritten that another replica
// wrote meanwhile.
func (c *collection) publish() {
	defer c.service.done(c)
	report := c.snapshot()
	start := c.service.options.Clock.Now()
	for {
		err := c.request(nil, func(ctx context.Context) error { return c.lease.write(ctx, report, false) })
		if err == nil {
			return
		}
		c.service.done(c) // the next one need not wait for this
		patience := lastWords
		select {
		case <-c.service.ended:
			patience = shutdownWords
		default:
		}
		if isFinal(err) || c.service.options.Clock.Since(start) >= patience {
			c.service.options.Log.Warn("the report of the collection is lost", zap.String("id", c.id), zap.Error(err))
			return
		}
		c.pause(retryInterval, patience == shutdownWords)
	}
}

func (c *collection) pause(delay time.Duration, ending bool) {
	ended := c.service.ended
	if ending {
		ended = nil // known
	}
	timer := c.service.options.Clock.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-ended:
	}
}
