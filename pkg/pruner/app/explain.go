package app

import (
	"context"

	"github.com/spf13/cobra"

	"image.alauda.io/registry/pkg/pruner/explain"
	"image.alauda.io/registry/pkg/pruner/options"
	"image.alauda.io/registry/pkg/pruner/snapshot"
)

func newExplainCommand() *cobra.Command {
	r := &reporter{options: options.Defaults(), formats: []string{"text", "json", "yaml"}}
	follow := false
	command := &cobra.Command{
		Use:   "explain DIGEST|NAMESPACE/NAME:TAG|NAMESPACE/NAME@DIGEST",
		Short: "Say why an image stays, or what would remove it",
		Long: `Say why an image stays, with every rule that keeps it and every object that uses it, or which rule would
remove it.

The flags of "pruner images" mean the same here, so that one asks about the run that one has in mind;
--image-pruner asks about the scheduled runs. Nothing is changed, also not with --confirm.`,
		Example: `  pruner explain team-a/app:v1
  pruner explain team-a/app:v1 --image-pruner
  pruner explain sha256:4c1c... --keep-tag-revisions=5 --keep-younger-than=72h -o yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			if _, err := explain.ParseTarget(args[0]); err != nil {
				return failure(exitUsage, "%w", err)
			}
			run, err := r.run(command)
			if err != nil {
				return err
			}
			if follow {
				if err := run.followImagePruner(command.Context(), command.Flags().Changed); err != nil {
					return err
				}
			}
			return run.explain(command.Context(), args[0], r.output)
		},
	}
	flags := command.Flags()
	r.addFlags(flags, true, "all", "keep-tag-revisions", "keep-younger-than", "prune-over-size-limit", "ignore-invalid-refs",
		"exclude-root-kind", "namespace", "whitelist", "match-hosts", "registry-host", "ignore-inactive-replicasets", "config-map", "chunk-size", "qps", "burst")
	flags.StringVarP(&r.output, "output", "o", "text", "text, json or yaml")
	flags.BoolVar(&follow, "image-pruner", false, "take the settings of ImagePruner cluster, as scheduled runs do, where none are given")
	return command
}

func (r *run) explain(ctx context.Context, target, format string) error {
	planner, err := r.look(ctx, func(*snapshot.Source) {})
	if err != nil {
		return err
	}
	explanation, err := explain.Explain(planner, target)
	if err != nil {
		return failure(exitFailed, "%w", err)
	}
	return written(explanation.Print(r.stdout, format))
}
