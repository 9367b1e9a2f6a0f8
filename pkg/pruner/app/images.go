package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"image.alauda.io/registry/pkg/logging"
	"image.alauda.io/registry/pkg/pruner/options"
	"image.alauda.io/registry/pkg/pruner/report"
)

const (
	dryRunNotice = "Dry run: nothing is changed. Give --confirm to carry this out."
	// terminationLog is where Kubernetes reads the last words of a container.
	terminationLog = "/dev/termination-log"
)

func newImagesCommand() *cobra.Command {
	opts := options.Defaults()
	var conn connection
	var verbosity int
	command := &cobra.Command{
		Use:   "images",
		Short: "Remove old tag history and unused images",
		Long: `Remove revisions of tags that are old and unused, then images that no stream lists and nobody uses.

Revisions and images stay while a Pod, a workload or another stream refers to them, while they are young,
and while they or their stream are annotated with image.alauda.io/keep=true. Without --confirm the plan is
only printed.`,
		Example: `  pruner images
  pruner images --keep-tag-revisions=5 --keep-younger-than=72h --confirm
  pruner images --whitelist='^cpaas-system/.*' --confirm
  pruner images --confirm --prune-registry`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := opts.Validate(); err != nil {
				return failure(exitUsage, "%w", err)
			}
			connected, err := conn.clients(opts.QPS, opts.Burst)
			if err != nil {
				return err
			}
			logging.Setup("pruner", verbosity)
			r := &run{
				Options: opts, clients: connected, clock: clock.RealClock{},
				stdout: command.OutOrStdout(), stderr: command.ErrOrStderr(), termination: writeTermination,
			}
			return r.attempts(command.Context())
		},
	}
	flags := command.Flags()
	opts.AddFlags(flags)
	conn.addFlags(flags)
	flags.IntVarP(&verbosity, "loglevel", "v", 0, "verbosity of the log, 0 to 8")
	return command
}

// run is `pruner images` with everything it needs.
type run struct {
	options.Options
	clients
	clock          clock.Clock
	stdout, stderr io.Writer
	// termination takes the last words of a confirmed run.
	termination func([]byte)
	// whitelisted are the streams that the configuration in the ConfigMap leaves alone.
	whitelisted []*regexp.Regexp
}

// attempts repeats the whole run after failures that may pass.
func (r *run) attempts(ctx context.Context) error {
	if !r.Confirm {
		fmt.Fprintln(r.stderr, dryRunNotice)
	}
	if r.PruneRegistry && !r.Confirm {
		fmt.Fprintln(r.stderr, "--prune-registry: what a collection in the storage would free is not part of this plan; pruner gc tells what can go now")
	}
	result := report.New(r.stdout, r.Output, !r.Confirm)
	result.StartTime.Time = r.clock.Now().UTC().Truncate(time.Second)
	result.Options = r.described()
	err := r.repeat(ctx, result)
	if endErr := result.End(err, ctx.Err() != nil); endErr != nil {
		return failure(exitFailed, "write report: %w", endErr)
	}
	return err
}

// repeat makes attempts until one succeeds, or the next could not do better. All are one report: what any of them
// did, and what the last one could not do.
func (r *run) repeat(ctx context.Context, result *report.Report) error {
	for attempt := 1; ; attempt++ {
		err := r.once(ctx, result)
		var exit *exitError
		if err == nil || !errors.As(err, &exit) || !exit.again || attempt > r.Retries || ctx.Err() != nil {
			return err
		}
		wait := time.Duration(attempt) * r.RetryDelay
		klog.FromContext(ctx).Info("Attempt failed", "attempt", attempt, "exitCode", exit.code, "retryAfter", wait, "error", err.Error())
		select {
		case <-ctx.Done():
			return err
		case <-r.clock.After(wait):
		}
		result.NextAttempt()
	}
}

// once is one complete attempt.
func (r *run) once(ctx context.Context, result *report.Report) error {
	err := r.prune(ctx, result)
	result.CompletionTime.Time = r.clock.Now().UTC().Truncate(time.Second)
	if err == nil && ctx.Err() != nil {
		err = retryable(signalCode(ctx), errors.New("interrupted before the end"))
	}
	if err == nil && result.Summary.Failed > 0 {
		err = retryable(exitFailed, fmt.Errorf("%d changes failed", result.Summary.Failed))
	}
	if r.Confirm {
		if text, encodeErr := result.Termination(err); encodeErr == nil {
			r.termination(text)
		}
	}
	return err
}

// described are the settings that shaped the plan.
func (r *run) described() map[string]string {
	return map[string]string{
		"all":                fmt.Sprint(r.All),
		"keepTagRevisions":   fmt.Sprint(r.KeepTagRevisions),
		"keepYoungerThan":    r.KeepYoungerThan.String(),
		"pruneOverSizeLimit": fmt.Sprint(r.OverSizeLimit),
		"namespace":          r.Namespace,
		"matchHosts":         r.MatchHosts,
		"ignoreInvalidRefs":  fmt.Sprint(r.IgnoreInvalidRefs),
		"pruneRegistry":      fmt.Sprint(r.PruneRegistry),
		"maxDeletePercent":   fmt.Sprint(r.MaxDeletePercent),
		"ignoreInactiveSets": fmt.Sprint(r.IgnoreInactiveReplicaSets),
	}
}

// writeTermination leaves the last words where Kubernetes looks for them; outside a container there is no
// such file and nothing is written.
func writeTermination(text []byte) {
	file, err := os.OpenFile(terminationLog, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return
	}
	_, _ = file.Write(text)
	_ = file.Close()
}
