package app

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"image.alauda.io/registry/pkg/registry/config"
	"image.alauda.io/registry/pkg/registry/gc"
	"image.alauda.io/registry/pkg/registry/gc/online"
	"image.alauda.io/registry/pkg/registry/purge"
	"image.alauda.io/registry/pkg/registry/store"

	"k8s.io/utils/clock"
)

// repositoryGrace is how long a repository without ImageStream stays at least.
const repositoryGrace = 72 * time.Hour

// clockOf is the clock of timers and Leases.
func clockOf(deps Dependencies) clock.WithTicker {
	if deps.Clock == nil {
		return clock.RealClock{}
	}
	return deps.Clock
}

// purger removes abandoned uploads; nil when that is switched off, or nothing may be
// written.
func purger(c *config.Config, deps Dependencies, storage *store.Store) (*purge.Purger, error) {
	purging, err := c.UploadPurging()
	if err != nil || !purging.Enabled || c.ReadOnly() {
		return nil, err
	}
	return purge.New(purge.Options{
		Age: purging.Age, Interval: purging.Interval, DryRun: purging.DryRun,
		Storage: storage, Clock: clockOf(deps), Random: rand.Float64, Log: deps.Log.Named("purge"),
	})
}

// collections makes the online collector. Without a cluster only this process knows of it.
func collections(c *config.Config, deps Dependencies, storage *store.Store) (*online.Service, error) {
	log := deps.Log.Named("gc")
	leases := deps.Leases
	if leases == nil {
		leases = online.NewLocalLeases()
	}
	collector := &gc.Collector{Store: storage, Metadata: deps.Metadata, Log: log}
	return online.New(online.Options{
		Leases: leases, Clock: clockOf(deps), Log: log,
		Collect: func(ctx context.Context, task online.Task, proceed func() error, note func(gc.Report)) (gc.Report, error) {
			if deps.Metadata == nil {
				return gc.Report{}, errors.New("there is no image API that says what is in use")
			}
			options := collectionOptions(c, deps, task)
			// Whoever may not go on ends ctx, which is looked at before each removal.
			options.OnFinding = func(gc.Finding) { _ = proceed() }
			return collector.Run(ctx, options, note)
		},
	})
}

func collectionOptions(c *config.Config, deps Dependencies, task online.Task) gc.Options {
	options := gc.DefaultOptions()
	options.DryRun, options.MinAge, options.AllowEmptyMetadata = task.DryRun, task.MinAge, task.AllowEmptyMetadata
	options.RepoGrace = max(task.MinAge, repositoryGrace)
	options.VerifyDelay, options.Workers = c.Alauda.GC.VerifyDelay, c.Alauda.GC.Workers
	options.Now, options.Wait = deps.Now, deps.Wait
	return options
}
