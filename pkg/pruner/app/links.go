package app

import (
	"context"

	"image.alauda.io/registry/pkg/pruner/execute"
	"image.alauda.io/registry/pkg/pruner/links"
	"image.alauda.io/registry/pkg/pruner/registry"
	"image.alauda.io/registry/pkg/pruner/report"
)

// pruneLinks removes from the repositories what the streams that were written lost. client is nil in a dry
// run.
func (r *run) pruneLinks(ctx context.Context, executor *execute.Executor, client *registry.Client, results []execute.StreamResult, progress *progress, result *report.Report) error {
	if !r.PruneRegistry || ctx.Err() != nil {
		return nil
	}
	var changes []links.Change
	for _, stream := range results {
		if stream.Err != nil || !stream.Updated {
			continue
		}
		change := links.Change{Namespace: stream.Stream.Namespace, Name: stream.Stream.Name, Listed: stream.Listed}
		for _, removed := range stream.Removed {
			change.Removed = append(change.Removed, removed.Digest)
		}
		changes = append(changes, change)
	}
	if len(changes) == 0 {
		return nil
	}
	remover := links.Remover{
		Client: r.image, Keep: executor.Planner.Graph().Keep, Workers: r.NumWorkers,
		Progress: func(done, total int) { progress.reached(ctx, "prune links", done, total) },
	}
	if client != nil {
		remover.Registry = client
	}
	return addAll(result, remover.Remove(ctx, changes))
}
