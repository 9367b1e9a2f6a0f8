package app

import (
	"context"
	"errors"
	"fmt"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/registry/config"
	"image.alauda.io/registry/pkg/registry/gc"
)

// mostPercent of all blobs may go without -force.
const mostPercent = 50

// runPrune removes what nobody uses, in a process of its own beside a registry that takes
// no writes.
func runPrune(ctx context.Context, c *config.Config, m *modes, to output) error {
	if c.NoAuth() {
		return fmt.Errorf("%w: with auth: none there is no image API that says what is in use", errRefused)
	}
	log := modeLog(c)
	defer log.Sync() //nolint:errcheck // stderr cannot be synced everywhere
	kubeConfig, err := restConfig(c)
	if err != nil {
		return err
	}
	metadata, err := gc.NewKubeMetadata(kubeConfig)
	if err != nil {
		return err
	}
	// The configuration may be read-only just for this run: the store's markers are still
	// written, because nobody can be sure that no registry serves.
	blobs, err := openStore(ctx, c, false)
	if err != nil {
		return err
	}
	collector := &gc.Collector{Store: blobs, Metadata: metadata, Log: log.Logger}
	return prune(ctx, c, m, collector, to)
}

// prune runs with what it works on.
func prune(ctx context.Context, c *config.Config, m *modes, collector *gc.Collector, to output) error {
	options := gc.DefaultOptions()
	options.DryRun = m.prune == pruneCheck
	options.MinAge, options.RepoGrace, options.VerifyDelay = m.blobGrace, m.repoGrace, 0
	options.Workers = c.Alauda.GC.Workers
	if !options.DryRun {
		quiet, err := takesNoWrites(ctx, c, collector.Metadata)
		switch {
		case err != nil:
			return err
		case !quiet && !m.force:
			return fmt.Errorf("%w: the registry takes writes; set spec.readOnly of Config %s, or give -%s", errRefused, imageregistryv1.SingletonName, flagForce)
		case !quiet:
			options.VerifyDelay = c.Alauda.GC.VerifyDelay // imports may be under way
		}
		if !m.force {
			options.MaxPercent = mostPercent
		}
	}
	verb := "Deleting"
	if options.DryRun {
		verb = "Would delete"
	}
	var broken error
	options.OnFinding = func(finding gc.Finding) {
		if _, err := fmt.Fprintln(to.out, verb, finding); err != nil && broken == nil {
			broken = fmt.Errorf("write the result: %w", err)
		}
	}
	report, err := collector.Run(ctx, options, nil)
	var guard *gc.Guard
	if errors.As(err, &guard) {
		return fmt.Errorf("%w: %s", errRefused, guard.Message)
	}
	return errors.Join(err, broken, summarise(report, to))
}

// takesNoWrites tells whether it is sure that no registry changes the storage.
func takesNoWrites(ctx context.Context, c *config.Config, metadata gc.Metadata) (bool, error) {
	if c.ReadOnly() {
		return true, nil
	}
	config, err := metadata.RegistryConfig(ctx)
	if err != nil || config == nil {
		return false, err
	}
	stopped := config.Spec.Replicas != nil && *config.Spec.Replicas == 0 && config.Status.ReadyReplicas == 0
	return config.Spec.ReadOnly || config.Spec.ManagementState == imageregistryv1.Removed || stopped, nil
}

// summarise prints the totals, also of a run that an error ended.
func summarise(report gc.Report, to output) error {
	lines := []string{
		fmt.Sprintf("Deleted %d blobs", report.DeletedBlobs),
		fmt.Sprintf("Freed up %s of disk space", humanSize(report.FreedBytes)),
	}
	if report.DryRun {
		lines = []string{
			fmt.Sprintf("Would delete %d blobs", report.CandidateCount),
			fmt.Sprintf("Would free up %s of disk space", humanSize(report.CandidateBytes)),
			"Use -prune=delete to actually delete the data",
		}
		if report.CandidateCount*100 > mostPercent*report.TotalBlobs {
			fmt.Fprintf(to.problems, "warning: %d of %d blobs would go; -prune=delete refuses that without -force\n", report.CandidateCount, report.TotalBlobs)
		}
	}
	for _, text := range report.Errors {
		fmt.Fprintln(to.problems, "error:", text)
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(to.out, line); err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
	}
	if len(report.Errors) > 0 {
		return errors.New("some objects could not be deleted")
	}
	return nil
}

// humanSize writes a number of bytes for people.
func humanSize(bytes int64) string {
	const unit = 1024
	if bytes < unit {
		return fmt.Sprintf("%d B", bytes)
	}
	value, power := float64(bytes), -1
	for value >= unit && power < 5 {
		value /= unit
		power++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[power])
}
