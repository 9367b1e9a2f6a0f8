package gc

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Collector makes collections in one storage.
type Collector struct {
	Store    *store.Store
	Metadata Metadata
	Log      *zap.Logger
}

// Run makes one collection. progress, which may be nil, gets a copy of the report at every
// phase and now and then in between, one at a time. The report that is returned is
// complete, also next to an error: a *Guard when the run was refused, the context's when it
// was ended, the first error of reading otherwise. Deletions that failed are in the report.
func (c *Collector) Run(ctx context.Context, options Options, progress func(Report)) (Report, error) {
	if err := options.Validate(); err != nil {
		return Report{State: StateFailed, Message: err.Error()}, err
	}
	r := newRun(c, options, progress)
	err := r.collect(ctx)
	if err == nil {
		err = ctx.Err()
	}
	return r.finish(err), err
}

// run is the state of one collection.
type run struct {
	*Collector
	options  Options
	progress func(Report)
	// finding makes findings come one at a time.
	finding sync.Mutex

	// mu guards what follows.
	mu      sync.Mutex
	digests *digests
	// streams holds which Images the history of a stream names.
	streams map[route.Name][]uint32
	report  Report
	done    int
	// imagesSeen is the number of Images in the last list.
	imagesSeen int

	// What the plan wants to remove. Repositories and links are written by one worker
	// for each repository, in any order.
	gone  []store.Repository
	links []linkPlan
	blobs []uint32
	// left are directories of blobs with something else in them, or nothing.
	left []string
}

func newRun(c *Collector, options Options, progress func(Report)) *run {
	return &run{
		Collector: c, options: options, progress: progress,
		digests: newDigests(), streams: map[route.Name][]uint32{},
		report: Report{
			ID: options.ID, State: StateRunning, Phase: PhaseMetadata, DryRun: options.DryRun,
			MinAge: Duration(options.MinAge), StartTime: metav1.NewTime(options.Now()),
			Candidates: []Candidate{}, RepositoryNames: []string{}, Errors: []string{},
		},
	}
}

// collect is the whole algorithm. Everything is enumerated before anything is deleted:
// guards see the whole plan, and storages fail when they change under a walk.
func (r *run) collect(ctx context.Context) error {
	r.enter(PhaseMetadata)
	if err := r.readMetadata(ctx); err != nil {
		return err
	}
	r.enter(PhaseBlobs)
	if err := r.countBlobs(ctx); err != nil {
		return err
	}
	if err := r.guardEmpty(); err != nil {
		return err
	}
	if err := r.readUnknown(ctx, unread|stored); err != nil {
		return err
	}
	r.enter(PhaseRepositories)
	if err := r.planRepositories(ctx); err != nil {
		return err
	}
	if err := r.guardEmpty(); err != nil {
		return err
	}
	if err := r.readUnknown(ctx, unread|stored); err != nil {
		return err // what links name that stay
	}
	if err := r.planBlobs(ctx); err != nil {
		return err
	}
	if err := r.guardPercent(); err != nil {
		return err
	}
	if r.options.DryRun {
		r.findAll()
		return ctx.Err()
	}
	return r.execute(ctx)
}

// execute removes what was planned, links first: what still names a blob goes before it.
func (r *run) execute(ctx context.Context) error {
	defer r.Store.MakeRoom(ctx)()
	r.enter(PhaseDelete)
	removed, err := r.removeLinks(ctx)
	if err != nil {
		return err
	}
	r.enter(PhaseVerify)
	if removed && r.options.VerifyDelay > 0 {
		if err := r.options.Wait(ctx, r.options.VerifyDelay); err != nil {
			return err
		}
	}
	if err := r.verify(ctx); err != nil {
		return err
	}
	r.enter(PhaseDelete)
	if err := r.deleteBlobs(ctx); err != nil {
		return err
	}
	if err := r.tidyMarkers(ctx); err != nil {
		return err
	}
	var full *store.Error
	if err := r.Store.KeepReserve(ctx); err != nil && !(errors.As(err, &full) && full.Full()) {
		return r.failed(err)
	}
	return nil // the next collection that frees enough sets it aside
}

// verify lists everything again. What was taken up since the first list stays.
func (r *run) verify(ctx context.Context) error {
	if len(r.blobs) == 0 {
		return nil
	}
	r.streams = map[route.Name][]uint32{}
	if err := r.readMetadata(ctx); err != nil {
		return err
	}
	if err := r.guardEmpty(); err != nil {
		return err
	}
	// The enumeration is older than this list: what it did not find may be there by now.
	return r.readUnknown(ctx, unread)
}

func (r *run) finish(err error) Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := metav1.NewTime(r.options.Now())
	r.report.CompletionTime = &at
	r.report.State = StateSucceeded
	if err != nil {
		r.report.State, r.report.Message = StateFailed, err.Error()
		var guard *Guard
		if errors.As(err, &guard) && guard.Name != GuardPercent && (r.report.Phase == PhaseBlobs || r.report.Phase == PhaseRepositories) {
			r.report.Phase = PhaseMetadata // that is what the guard is about
		}
	} else if failed := len(r.report.Errors); failed > 0 {
		r.report.Message = fmt.Sprintf("%d deletions failed", failed)
	}
	return r.report.Clone()
}

// enter begins a phase.
func (r *run) enter(phase Phase) {
	r.mu.Lock()
	r.report.Phase = phase
	r.mu.Unlock()
	r.tell()
}

// tell passes the report on.
func (r *run) tell() {
	if r.progress == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress(r.report.Clone())
}

// update changes the report and passes it on after every 1024 changes.
func (r *run) update(change func(*Report)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.report)
	if r.done++; r.done%1024 == 0 && r.progress != nil {
		r.progress(r.report.Numbers())
	}
}
