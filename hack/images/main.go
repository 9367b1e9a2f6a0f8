// Command images builds the container images of the product without Docker, and pushes them.
//
//	go run ./hack/images binaries
//	go run ./hack/images build [--platforms …] [--only …] [--tag …] [--registry …]
//	go run ./hack/images push --registry HOST/PREFIX
//	go run ./hack/images dockerfiles
//
// Input are images/images.yaml, the Go packages and files it names, and the root certificates of the
// machine. Output are static binaries in _output/bin/<os>_<arch>, and per image an OCI layout with an
// index over all platforms in _output/images/<name> and one archive per platform beside it.
//
// The same input gives the same digests: no time, user name or path of the machine gets into an image.
// Nothing is downloaded, and nothing but `push` uses the network.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	command := newCommand(os.Stderr)
	if err := command.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func newCommand(log io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:           "images",
		Short:         "Build the container images without Docker",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(binariesCommand(log), buildCommand(log), pushCommand(log), dockerfilesCommand())
	return root
}

func buildCommand(log io.Writer) *cobra.Command {
	options := defaultBuildOptions()
	command := &cobra.Command{
		Use:   "build",
		Short: "Compile the binaries and assemble their images",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := options.Validate(); err != nil {
				return err
			}
			return build(command.Context(), options, log)
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.Root, "root", options.Root, "root of the repository")
	flags.StringVar(&options.Out, "output", options.Out, "folder for binaries and images")
	flags.StringSliceVar(&options.Platforms, "platforms", options.Platforms, "platforms to build for")
	flags.StringSliceVar(&options.Only, "only", nil, "images to build (default all)")
	flags.StringVar(&options.Tag, "tag", options.Tag, "tag of the images")
	flags.StringVar(&options.Registry, "registry", options.Registry, "registry and prefix of the image names")
	flags.StringVar(&options.CABundle, "ca-bundle", options.CABundle, "root certificates to put into images that need them")
	return command
}

func binariesCommand(log io.Writer) *cobra.Command {
	options := defaultBuildOptions()
	options.Platforms = []string{runtime.GOOS + "/" + runtime.GOARCH}
	command := &cobra.Command{
		Use:   "binaries",
		Short: "Compile the binaries of the product, without images",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := options.Validate(); err != nil {
				return err
			}
			return binaries(command.Context(), options, log)
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.Root, "root", options.Root, "root of the repository")
	flags.StringVar(&options.Out, "output", options.Out, "folder for binaries")
	flags.StringSliceVar(&options.Platforms, "platforms", options.Platforms, "platforms to compile for")
	return command
}

func pushCommand(log io.Writer) *cobra.Command {
	options := defaultPushOptions()
	command := &cobra.Command{
		Use:   "push --registry HOST/PREFIX",
		Short: "Push the built images, with the credentials of docker or podman",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := options.Validate(); err != nil {
				return err
			}
			return push(command.Context(), options, log)
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.Root, "root", options.Root, "root of the repository")
	flags.StringVar(&options.Out, "output", options.Out, "folder that holds the built images")
	flags.StringSliceVar(&options.Only, "only", nil, "images to push (default all but the sample)")
	flags.StringVar(&options.Registry, "registry", "", "registry and prefix to push to")
	flags.StringVar(&options.Tag, "tag", "", "tag to push (default the tag given to build)")
	flags.BoolVar(&options.PlainHTTP, "plain-http", false, "use HTTP if the registry does not speak HTTPS")
	return command
}

func dockerfilesCommand() *cobra.Command {
	root := "."
	command := &cobra.Command{
		Use:   "dockerfiles",
		Short: "Render images/<name>/Dockerfile from images/images.yaml",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return dockerfiles(root) },
	}
	command.Flags().StringVar(&root, "root", root, "root of the repository")
	return command
}
