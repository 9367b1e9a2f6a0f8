package app

import (
	"fmt"
	"strings"

	"image.alauda.io/registry/pkg/registry/config"
	"image.alauda.io/registry/pkg/version"

	"github.com/spf13/cobra"
)

func newCommand() *cobra.Command {
	asked := &modes{}
	command := &cobra.Command{
		Use:   component + " [flags] [config file]",
		Short: "Serve container images to the cluster",
		Long: `image-registry serves the OCI distribution API in front of a blob store and
records what is pushed as Images and ImageStreams of the group image.alauda.io.

The configuration is the file given as argument, else the one that
` + config.PathVariable + ` names, else ` + config.DefaultPath + `.
Variables REGISTRY_<SECTION>_<KEY> override single values, for example
REGISTRY_HTTP_ADDR, REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY or
REGISTRY_ALAUDA_SERVER_ADDR.

The Kubernetes API is found by alauda.kubeconfig, else by KUBECONFIG, else by the
service account of the Pod.

With one of the flags below it does that work on the storage and ends. Flags may be
written with one dash or with two.

Exit codes: 0 ended on request or done, 1 error, 2 wrong usage, 3 -restore-mode found
problems that are still there, 4 refused because it is not sure that only unused data
would be deleted.`,
		Example: `  image-registry
  image-registry /etc/image-registry/config.yml
  image-registry -prune=check
  image-registry -prune=delete -blob-grace=0s /etc/image-registry/config.yml
  image-registry version`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("%w: one configuration file at most, got %d arguments", errUsage, len(args))
			}
			return nil
		},
		RunE: func(command *cobra.Command, args []string) error {
			path := config.Path(strings.Join(args, ""))
			run, err := asked.choose(command.Flags())
			if err != nil {
				return err
			}
			if run != nil {
				return runMode(command.Context(), run, asked, path, output{command.OutOrStdout(), command.ErrOrStderr()})
			}
			return serve(command.Context(), command.OutOrStdout(), path)
		},
		SilenceUsage: true, SilenceErrors: true,
	}
	command.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	command.CompletionOptions.DisableDefaultCmd = true
	asked.register(command.Flags())
	command.AddCommand(&cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(command.OutOrStdout(), version.Get())
			return err
		},
	})
	return command
}
