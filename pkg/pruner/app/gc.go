package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"image.alauda.io/registry/pkg/logging"
	"image.alauda.io/registry/pkg/pruner/collect"
	"image.alauda.io/registry/pkg/pruner/options"
	"image.alauda.io/registry/pkg/pruner/registry"
	"image.alauda.io/registry/pkg/pruner/report"
)

const pageSize = 500

func newGCCommand() *cobra.Command {
	opts := options.GCDefaults()
	var conn connection
	var verbosity int
	command := &cobra.Command{
		Use:   "gc",
		Short: "Free the storage of the registry",
		Long: `Let the registry find and delete the blobs, links and repositories in its storage that no image needs.

The registry goes on serving meanwhile; what was uploaded or relied on recently stays. Without --confirm the
registry makes a dry run, and what it found is printed.`,
		Example: `  pruner gc
  pruner gc --confirm
  pruner gc --confirm --min-age=24h --max-delete-percent=80`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := opts.Validate(); err != nil {
				return failure(exitUsage, "%w", err)
			}
			defaults := options.Defaults()
			connected, err := conn.clients(defaults.QPS, defaults.Burst)
			if err != nil {
				return err
			}
			logging.Setup("pruner", verbosity)
			g := &gcRun{
				GC: opts, clients: connected, clock: clock.RealClock{},
				stdout: command.OutOrStdout(), stderr: command.ErrOrStderr(),
			}
			return g.run(command.Context())
		},
	}
	flags := command.Flags()
	opts.AddFlags(flags)
	conn.addFlags(flags)
	flags.IntVarP(&verbosity, "loglevel", "v", 0, "verbosity of the log, 0 to 8")
	return command
}

// gcRun is `pruner gc` with everything it needs.
type gcRun struct {
	options.GC
	clients
	clock          clock.Clock
	stdout, stderr io.Writer
}

// run makes the collection and prints its report, also that of one that failed or was refused halfway.
func (g *gcRun) run(ctx context.Context) error {
	if !g.Confirm {
		fmt.Fprintln(g.stderr, dryRunNotice)
	}
	result := report.NewCollection(report.New(g.stdout, g.Output, !g.Confirm))
	result.StartTime.Time = g.clock.Now().UTC().Truncate(time.Second)
	result.Options = map[string]string{
		"minAge": g.MinAge.String(), "maxDeletePercent": fmt.Sprint(g.MaxDeletePercent), "allowEmptyMetadata": fmt.Sprint(g.AllowEmptyMetadata),
	}
	err := g.collect(ctx, result)
	result.CompletionTime.Time = g.clock.Now().UTC().Truncate(time.Second)
	if result.Collection != nil || g.Output != outputText {
		if err != nil {
			result.Error = err.Error()
		}
		if finishErr := result.Finish(); finishErr != nil {
			return failure(exitFailed, "write report: %w", finishErr)
		}
	}
	return err
}

func (g *gcRun) collect(ctx context.Context, result *report.Report) error {
	cluster, err := collect.ReadCluster(ctx, g.image, g.clock)
	if err != nil {
		return collectionFailure(err)
	}
	result.Snapshot.Images = cluster.Images
	if err := collect.Guard(cluster, g.AllowEmptyMetadata); err != nil {
		return collectionFailure(err)
	}
	client, err := g.connectRegistry(ctx, g.Registry, 1, g.clock)
	if err != nil {
		return err
	}
	settings := collect.Settings{
		Confirm: g.Confirm, MinAge: g.MinAge, MaxDeletePercent: g.MaxDeletePercent, AllowEmptyMetadata: g.AllowEmptyMetadata, Wait: g.Wait,
	}
	if g.MinAgeOfRegistry {
		settings.MinAge = 0
	}
	collector := collect.Collector{
		Settings: settings, Registry: client, Clock: g.clock, Planned: result.Planned,
		Progress: collectionProgress(ctx, newProgress(g.clock)),
	}
	done, err := collector.Run(ctx)
	if done.ID != "" && !done.DryRun {
		if reportErr := result.Collected(done, false); reportErr != nil {
			return failure(exitFailed, "write report: %w", reportErr)
		}
	}
	if err != nil {
		return collectionFailure(err)
	}
	return nil
}

// collectionProgress shows how far the registry is.
func collectionProgress(ctx context.Context, progress *progress) func(registry.Collection) {
	return func(c registry.Collection) {
		progress.reached(ctx, "collect: "+c.Phase, int(c.DeletedBlobs), int(c.CandidateCount))
	}
}

// collectionFailure gives an error of a collection its exit code.
func collectionFailure(err error) error {
	var refused *collect.RefusedError
	var answer *registry.AnswerError
	switch {
	case errors.As(err, &refused), apierrors.IsForbidden(err):
		return failure(exitRefused, "%w", err)
	case errors.As(err, &answer) && answer.Status == http.StatusForbidden:
		return failure(exitRefused, "%w (ClusterRole system:image-pruner grants what is needed)", err)
	case errors.Is(err, registry.ErrNoCollections), errors.Is(err, registry.ErrReadOnly):
		return failure(exitRegistry, "%w", err)
	}
	return retryable(exitFailed, err)
}

// collectGarbage is the end of a run with --prune-registry: a collection with the defaults of gc. Whatever
// is wrong with it, the metadata are pruned.
func (r *run) collectGarbage(ctx context.Context, client *registry.Client, progress *progress, result *report.Report) error {
	if client == nil || client.Stopped() != nil || ctx.Err() != nil {
		return nil
	}
	done, err := r.runCollection(ctx, client, progress)
	if done.ID != "" && !done.DryRun {
		if reportErr := result.Collected(done, true); reportErr != nil {
			return failure(exitFailed, "write report: %w", reportErr)
		}
		klog.FromContext(ctx).Info("Garbage was collected", "blobs", done.DeletedBlobs, "links", done.DeletedLinks,
			"repositories", done.DeletedRepositories, "freed", report.Bytes(done.FreedBytes), "refused", done.Refused)
	}
	var refused *collect.RefusedError
	switch {
	case err == nil || ctx.Err() != nil:
		return nil
	case errors.As(err, &refused):
		return failure(exitFailed, "metadata were pruned, but the storage was not: %w", err)
	}
	return retryable(exitFailed, fmt.Errorf("metadata were pruned, but the storage was not completely: %w", err))
}

func (r *run) runCollection(ctx context.Context, client *registry.Client, progress *progress) (registry.Collection, error) {
	cluster, err := collect.ReadCluster(ctx, r.image, r.clock)
	if err != nil {
		return registry.Collection{}, err
	}
	if err := collect.Guard(cluster, false); err != nil {
		return registry.Collection{}, err
	}
	defaults := options.GCDefaults()
	if r.MinAgeOfRegistry {
		defaults.MinAge = 0
	}
	collector := collect.Collector{
		Settings: collect.Settings{Confirm: true, MinAge: defaults.MinAge, MaxDeletePercent: defaults.MaxDeletePercent, Wait: defaults.Wait},
		Registry: client, Clock: r.clock, Progress: collectionProgress(ctx, progress),
	}
	return collector.Run(ctx)
}
