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

// purging makes what removes abandoned uploads, unless that is switched off or nothing may
// be written.
func (b *builder) purging(context.Context) error {
	settings, err := b.c.UploadPurging()
	if err != nil || !settings.Enabled || b.c.ReadOnly() {
		return err
	}
	b.registry.Purger, err = purge.New(purge.Options{
		Age: settings.Age, Interval: settings.Interval, DryRun: settings.DryRun,
		Storage: b.registry.Store, Clock: clockOf(b.Dependencies), Random: rand.Float64, Log: b.Log.Named("purge"),
	})
	return err
}

// collections makes the online collector. Without a cluster only this process knows of it.
func (b *builder) collections(context.Context) error {
	log := b.Log.Named("gc")
	leases := b.Leases
	if leases == nil {
		leases = online.NewLocalLeases()
	}
	collector := &gc.Collector{Store: b.registry.Store, Metadata: b.Metadata, Log: log}
	service, err := online.New(online.Options{
		Leases: leases, Clock: clockOf(b.Dependencies), Log: log,
		Collect: func(ctx context.Context, task online.Task, proceed func() error, note func(gc.Report)) (gc.Report, error) {
			if b.Metadata == nil {
				return gc.Report{}, errors.New("there is no image API that says what is in use")
			}
			options := collectionOptions(b.c, b.Dependencies, task)
			// Whoever may not go on ends ctx, which is looked at before each removal.
			options.OnFinding = func(gc.Finding) { _ = proceed() }
			return collector.Run(ctx, options, note)
		},
	})
	b.registry.Collections, b.handlers.Collections = service, service
	b.handlers.CollectionAge = b.c.Alauda.GC.MinAge
	return err
}

// collectionOptions are those of one collection on request.
func collectionOptions(c *config.Config, deps Dependencies, task online.Task) gc.Options {
	options := gc.DefaultOptions()
	options.DryRun, options.MinAge, options.AllowEmptyMetadata = task.DryRun, task.MinAge, task.AllowEmptyMetadata
	options.RepoGrace = max(task.MinAge, repositoryGrace)
	options.VerifyDelay, options.Workers = c.Alauda.GC.VerifyDelay, c.Alauda.GC.Workers
	options.Now, options.Wait = deps.Now, deps.Wait
	return options
}
