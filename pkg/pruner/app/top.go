package app

import (
	"context"

	"github.com/spf13/cobra"

	"image.alauda.io/registry/pkg/pruner/options"
	"image.alauda.io/registry/pkg/pruner/plan"
	"image.alauda.io/registry/pkg/pruner/snapshot"
	"image.alauda.io/registry/pkg/pruner/usage"
)

func newTopCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "top",
		Short: "Show what takes up space, and who uses it",
		Args:  cobra.NoArgs,
		RunE:  func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	images := newReportCommand((*run).topImages)
	images.Use, images.Short = "images", "Show images with their tags, parents, users and size"
	images.Long = `Show images with the tags that mean them, the images that they are built upon, the controllers of the Pods
that use them, and their size. Images of many streams come first, then large ones.`
	images.Example = "  pruner top images\n  pruner top images -n team-a -o yaml"
	streams := newReportCommand((*run).topStreams)
	streams.Use, streams.Aliases, streams.Short = "imagestreams", []string{"is"}, "Show image streams with their size"
	streams.Long = `Show image streams with the size of the images that their tags mean. With -o wide, also how many revisions
their history has, how much only that history holds, and how much a prune with default settings would make
free for the garbage collection.`
	streams.Example = "  pruner top imagestreams\n  pruner top is -o wide"
	command.AddCommand(images, streams)
	return command
}

// newReportCommand has the flags that both reports share.
func newReportCommand(print func(r *run, ctx context.Context, namespace, format string) error) *cobra.Command {
	r := &reporter{options: options.Defaults(), formats: []string{"text", "wide", "json", "yaml"}}
	namespace := ""
	command := &cobra.Command{
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			run, err := r.run(command)
			if err != nil {
				return err
			}
			return print(run, command.Context(), namespace, r.output)
		},
	}
	flags := command.Flags()
	r.addFlags(flags, false, "exclude-root-kind", "config-map", "match-hosts", "registry-host", "chunk-size", "qps", "burst")
	flags.StringVarP(&namespace, "namespace", "n", "", "show only what the image streams of this namespace name")
	flags.StringVarP(&r.output, "output", "o", "text", "text, wide, json or yaml")
	return command
}

func (r *run) topImages(ctx context.Context, namespace, format string) error {
	planner, inventory, err := r.takeInventory(ctx)
	if err != nil {
		return err
	}
	return written(usage.PrintImages(r.stdout, usage.NewImages(planner, inventory, namespace), format))
}

func (r *run) topStreams(ctx context.Context, namespace, format string) error {
	planner, inventory, err := r.takeInventory(ctx)
	if err != nil {
		return err
	}
	return written(usage.PrintStreams(r.stdout, usage.Streams(planner, inventory, namespace), format))
}

func (r *run) takeInventory(ctx context.Context) (*plan.Planner, *usage.Inventory, error) {
	inventory := usage.NewInventory()
	planner, err := r.look(ctx, func(source *snapshot.Source) { source.SeeImage = inventory.Add })
	return planner, inventory, err
}
