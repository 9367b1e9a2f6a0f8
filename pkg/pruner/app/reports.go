package app

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/logging"
	"image.alauda.io/registry/pkg/pruner/options"
	"image.alauda.io/registry/pkg/pruner/plan"
	"image.alauda.io/registry/pkg/pruner/snapshot"
)

// reporter is what the commands that only look have in common.
type reporter struct {
	options   options.Options
	conn      connection
	verbosity int
	output    string
	formats   []string
}

// addFlags takes those of the settings of a run over whose names are shown. The others are known too if
// all is true, so that the line of a run can be asked about, but they are not listed.
func (r *reporter) addFlags(flags *pflag.FlagSet, all bool, shown ...string) {
	known := pflag.NewFlagSet("", pflag.ContinueOnError)
	r.options.AddFlags(known)
	known.VisitAll(func(flag *pflag.Flag) {
		listed := slices.Contains(shown, flag.Name)
		if flag.Name == "output" || !listed && !all {
			return
		}
		flag.Hidden = flag.Hidden || !listed
		flags.AddFlag(flag)
	})
	r.conn.addFlags(flags)
	flags.IntVarP(&r.verbosity, "loglevel", "v", 0, "verbosity of the log, 0 to 8")
}

// run checks the settings and connects.
func (r *reporter) run(command *cobra.Command) (*run, error) {
	if !slices.Contains(r.formats, r.output) {
		return nil, failure(exitUsage, "--output: %q is none of %v", r.output, r.formats)
	}
	if err := r.options.Validate(); err != nil {
		return nil, failure(exitUsage, "%w", err)
	}
	connected, err := r.conn.clients(r.options.QPS, r.options.Burst)
	if err != nil {
		return nil, err
	}
	logging.Setup("pruner", r.verbosity)
	return &run{
		Options: r.options, clients: connected, clock: clock.RealClock{},
		stdout: command.OutOrStdout(), stderr: command.ErrOrStderr(),
		termination: func([]byte) {}, // nothing was done that anybody waits to hear of
	}, nil
}

// look reads the cluster for a report. What would stop a run is only told.
func (r *run) look(ctx context.Context, change func(*snapshot.Source)) (*plan.Planner, error) {
	source, err := r.source(ctx, newProgress(r.clock))
	if err != nil {
		return nil, err
	}
	source.Origins = true
	change(&source)
	snap, err := source.Take(ctx)
	if err != nil {
		return nil, failure(exitReferences, "references could not be established: %w", err)
	}
	invalid := snap.Uses.Invalid()
	for _, reference := range invalid {
		fmt.Fprintln(r.stderr, describe(reference))
	}
	if len(invalid) > 0 && !r.IgnoreInvalidRefs {
		fmt.Fprintf(r.stderr, "A run would stop at these %d image references, unless it has --ignore-invalid-refs.\n", len(invalid))
	}
	snap.Uses.IgnoreInvalid()
	return r.planner(ctx, snap), nil
}

// followImagePruner takes over what scheduled runs have been told, except what was given here.
func (r *run) followImagePruner(ctx context.Context, given func(flag string) bool) error {
	name := imageregistryv1.SingletonName
	pruner, err := r.image.ImageregistryV1().ImagePruners().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return failure(exitFailed, "--image-pruner: read ImagePruner %s: %w", name, err)
	}
	spec := pruner.Spec
	if spec.KeepTagRevisions != nil && !given("keep-tag-revisions") {
		r.KeepTagRevisions = int(*spec.KeepTagRevisions)
	}
	if !given("keep-younger-than") {
		switch {
		case spec.KeepYoungerThanDuration != nil:
			r.KeepYoungerThan = spec.KeepYoungerThanDuration.Duration
		case spec.KeepYoungerThan != nil:
			r.KeepYoungerThan = time.Duration(*spec.KeepYoungerThan)
		}
	}
	if !given("exclude-root-kind") {
		r.ExcludeRootKinds = spec.ExcludedRootKinds
	}
	if !given("ignore-invalid-refs") {
		r.IgnoreInvalidRefs = spec.IgnoreInvalidImageReferences
	}
	return nil
}

// written turns a failure to write into one of the command.
func written(err error) error {
	if err != nil {
		return failure(exitFailed, "write report: %w", err)
	}
	return nil
}
