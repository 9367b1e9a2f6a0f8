package app

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"image.alauda.io/registry/pkg/pruner/execute"
	"image.alauda.io/registry/pkg/pruner/plan"
	"image.alauda.io/registry/pkg/pruner/references"
	"image.alauda.io/registry/pkg/pruner/registry"
	"image.alauda.io/registry/pkg/pruner/report"
	"image.alauda.io/registry/pkg/pruner/snapshot"
)

// tolerableSkew is how far the local clock may be off without a warning. Ages are in API server time.
const tolerableSkew = time.Minute

// prune is the order of a run: may I, what is there, what would go, is that too much, do it. Links go after
// the streams that named them, bytes after the images that needed them.
func (r *run) prune(ctx context.Context, result *report.Report) error {
	if r.Confirm {
		if err := r.preflight(ctx); err != nil {
			return err
		}
	}
	var client *registry.Client
	if r.Confirm && r.PruneRegistry {
		var err error
		if client, err = r.connectRegistry(ctx, r.Registry, r.NumWorkers, r.clock); err != nil {
			return err
		}
	}
	progress := newProgress(r.clock)
	source, err := r.source(ctx, progress)
	if err != nil {
		return err
	}
	snap, err := source.Take(ctx)
	if err != nil {
		return retryable(exitReferences, fmt.Errorf("references could not be established: %w", err))
	}
	if err := r.check(ctx, snap, result); err != nil {
		return err
	}
	planner := r.planner(ctx, snap)
	executor := &execute.Executor{Client: r.image, Planner: planner, Workers: r.NumWorkers, DryRun: true, Wait: r.pause}
	if err := r.guardShare(ctx, executor, snap); err != nil {
		return err
	}
	watches, end := r.watch(ctx, source, snap, executor)
	defer end()
	executor.DryRun = !r.Confirm
	executor.Progress = func(stage string, done, total int) { progress.reached(ctx, "prune "+stage, done, total) }
	results, err := r.pruneStreams(ctx, executor, result)
	if err != nil {
		return err
	}
	if err := r.pruneLinks(ctx, executor, client, results, progress, result); err != nil || r.Namespace != "" || ctx.Err() != nil {
		return err
	}
	if r.Confirm {
		// Whoever began to use an image while the streams were pruned is heard before images go.
		if err := watches.Settle(ctx); err != nil {
			return retryable(exitFailed, fmt.Errorf("references could not be brought up to date, images were not pruned: %w", err))
		}
	}
	if err := r.pruneImages(ctx, executor, listedAfter(results), result); err != nil {
		return err
	}
	return r.collectGarbage(ctx, client, progress, result)
}

// source is where a snapshot comes from, the same for runs and for reports about what a run would do.
func (r *run) source(ctx context.Context, progress *progress) (snapshot.Source, error) {
	config, err := r.configuration(ctx)
	if err != nil {
		return snapshot.Source{}, err
	}
	custom, err := r.customRoots(ctx, config)
	if err != nil {
		return snapshot.Source{}, err
	}
	known, names, err := r.hosts(ctx, config)
	if err != nil {
		return snapshot.Source{}, err
	}
	r.whitelisted = config.Whitelisted()
	return snapshot.Source{
		Kube: r.kube, Watching: r.watching, Image: r.image, ImageLists: r.imageLists, Custom: custom, Objects: r.objects,
		Dates: r.dates, Warnings: r.warnings, Clock: r.clock, ChunkSize: r.ChunkSize,
		KeepYoungerThan: r.KeepYoungerThan, IgnoreInactiveReplicaSets: r.IgnoreInactiveReplicaSets,
		Hosts: known, Names: names, OverSize: r.OverSizeLimit,
		Progress: func(kind string, read int) { progress.reached(ctx, "read "+kind, read, 0) },
	}, nil
}

// check reports about the snapshot and refuses to go on when references could not be understood.
func (r *run) check(ctx context.Context, snap *snapshot.Snapshot, result *report.Report) error {
	log := klog.FromContext(ctx)
	if snap.LocalTime && r.Confirm {
		return failure(exitReferences, "the answers of the API server have no Date header, so it is not known how old anything is; nothing was changed. If a proxy takes the header away, connect without it (--server)")
	}
	if snap.Skew > tolerableSkew || snap.Skew < -tolerableSkew {
		log.Info("The local clock differs from the API server's; ages are in the time of the API server", "difference", snap.Skew)
	}
	incomplete := 0
	for _, image := range snap.Images {
		if image.Incomplete {
			incomplete++
		}
	}
	if incomplete > 0 {
		log.Info("Images with unknown content are kept", "count", incomplete)
	}
	result.Snapshot = report.Snapshot{Images: len(snap.Images), ImageStreams: len(snap.Streams), Roots: snap.Roots, References: snap.Uses.Count()}
	r.reportSkipped(ctx, snap)
	invalid := snap.Uses.Invalid()
	result.InvalidReferences = invalid
	for _, reference := range invalid {
		fmt.Fprintln(r.stderr, describe(reference))
	}
	if len(invalid) > 0 && !r.IgnoreInvalidRefs {
		return failure(exitReferences, "%d image references cannot be understood: correct or delete these objects, or go on with --ignore-invalid-refs", len(invalid))
	}
	snap.Uses.IgnoreInvalid()
	return nil
}

func describe(i references.Invalid) string {
	return fmt.Sprintf("invalid image reference: %s %s/%s %s: %q: %s", i.Kind, i.Namespace, i.Name, i.Path, i.Value, i.Error)
}

func (r *run) planner(ctx context.Context, snap *snapshot.Snapshot) *plan.Planner {
	return &plan.Planner{
		Settings: plan.Settings{
			KeepTagRevisions: r.KeepTagRevisions, KeepYoungerThan: r.KeepYoungerThan, All: r.All,
			Whitelist: slices.Concat(r.WhitelistExpressions(), r.whitelisted), Namespace: r.Namespace, ReferenceGrace: r.ReferenceGrace,
			OverSize: r.OverSizeLimit,
		},
		Snapshot: snap,
		Lookup:   r.lookup(ctx),
	}
}

// lookup asks the API about images that the snapshot does not know. What was found once is not asked for again: it
// is newer than the snapshot, and stays for this run. A stream that is decided again after a conflict is written the
// sooner for it.
func (r *run) lookup(ctx context.Context) func(string) plan.Presence {
	var found sync.Map
	return func(digest string) plan.Presence {
		if _, ok := found.Load(digest); ok {
			return plan.Present
		}
		_, err := r.image.ImageV1().Images().Get(ctx, digest, metav1.GetOptions{})
		switch {
		case err == nil:
			found.Store(digest, nil)
			return plan.Present
		case execute.IsGone(err):
			return plan.Absent
		}
		klog.FromContext(ctx).Error(err, "Image could not be looked up", "image", digest)
		return plan.Unsure
	}
}

// guardShare refuses a run that would delete more than the administrator expects.
func (r *run) guardShare(ctx context.Context, dry *execute.Executor, snap *snapshot.Snapshot) error {
	if r.MaxDeletePercent >= 100 || r.Namespace != "" || len(snap.Images) == 0 {
		return nil
	}
	condemned := 0
	for _, image := range dry.Planner.Images(listedAfter(dry.Streams(ctx))) {
		if !image.Kept {
			condemned++
		}
	}
	if condemned*100 > r.MaxDeletePercent*len(snap.Images) {
		return failure(exitRefused, "%d of %d images would be deleted, more than --max-delete-percent=%d allows; nothing was changed",
			condemned, len(snap.Images), r.MaxDeletePercent)
	}
	return nil
}

func listedAfter(results []execute.StreamResult) map[string]string {
	listed := map[string]string{}
	for _, result := range results {
		for _, digest := range result.Listed {
			listed[digest] = "listed in " + result.Stream.Key()
		}
	}
	return listed
}

// pruneStreams is the first stage.
func (r *run) pruneStreams(ctx context.Context, executor *execute.Executor, result *report.Report) ([]execute.StreamResult, error) {
	results := executor.Streams(ctx)
	for _, stream := range results {
		if stream.Updated {
			result.StreamUpdated()
		}
		if err := addAll(result, stream.Items(executor.DryRun, r.ExplainKept)); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// pruneImages is the second stage.
func (r *run) pruneImages(ctx context.Context, executor *execute.Executor, listed map[string]string, result *report.Report) error {
	decisions := executor.Planner.Images(listed)
	if err := addAll(result, executor.Images(ctx, decisions)); err != nil {
		return err
	}
	if r.ExplainKept {
		return addAll(result, execute.KeptItems(decisions))
	}
	return nil
}

func addAll(result *report.Report, items []report.Item) error {
	for _, item := range items {
		if err := result.Add(item); err != nil {
			return failure(exitFailed, "write report: %w", err)
		}
	}
	return nil
}

func (r *run) pause(ctx context.Context, wait time.Duration) {
	select {
	case <-ctx.Done():
	case <-r.clock.After(wait):
	}
}
