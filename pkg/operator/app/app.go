// Package app is the process cluster-image-registry-operator: its command line, its clients and caches, and
// the controllers that it starts.
//
// In come flags and environment variables. Out come two HTTP listeners, and, on the leader, the controllers:
// config (the registry itself), certificates, pruner, pull secrets, the pull right of namespaces, and the log
// level. A standby fills its caches and answers probes, but writes nothing.
//
// Nothing is decided here: which objects are wanted and what a condition says is the work of the controllers'
// packages. A process that loses its lease ends.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/logging"
	"image.alauda.io/registry/pkg/version"
)

// Exit codes.
const (
	exitOK = iota
	exitError
	exitUsage
)

// usageError is a mistake on the command line or in the environment's form.
type usageError struct{ error }

// Run runs the command and returns its exit code.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	command := newCommand(stdout)
	command.SetArgs(args)
	command.SetOut(stdout)
	command.SetErr(stderr)
	err := command.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "error: %v\nRun '%s --help' for usage.\n", err, registryv1.OperatorName)
		return exitUsage
	default:
		fmt.Fprintln(stderr, "error:", err)
		return exitError
	}
}

func newCommand(stdout io.Writer) *cobra.Command {
	options := DefaultOptions()
	command := &cobra.Command{
		Use:   registryv1.OperatorName,
		Short: "Installs and runs the image registry of a cluster",
		Long: `Installs and runs the image registry of a cluster from Config/cluster and ImagePruner/cluster.

Environment:
  RELATED_IMAGE_REGISTRY, RELATED_IMAGE_API_SERVER, RELATED_IMAGE_NODE_CA,
  RELATED_IMAGE_PRUNER, OPERATOR_IMAGE   images of the operands and of this operator (required)
  POD_NAMESPACE                          namespace of the operands (image-registry-system)
  POD_NAME                               holder of the lease (host name)
  RELEASE_VERSION                        version in status.version (that of the binary)
  CLUSTER_DOMAIN                         DNS domain of the cluster (from /etc/resolv.conf, else cluster.local)
  INGRESS_DOMAIN                         domain of generated hosts where spec.ingress.domain is empty
                                         (apps.<domain of the cluster>)
  MONITORING_SERVICE_ACCOUNTS            namespace/name list that may scrape (cpaas-system/prometheus-sa)
  RUNBOOK_URL                            where the pages about alerts are: a URL with {alert}, or a folder to
                                         which <alert>.md is added
  OPERAND_PRIORITY_CLASS                 priority class of all Pods (system-cluster-critical), may be empty
  HTTP_PROXY, HTTPS_PROXY, NO_PROXY      used where spec.proxy of Config says nothing

Exit codes: 0 ended on request, 1 error, 2 wrong usage.`,
		Example: `  cluster-image-registry-operator
  cluster-image-registry-operator --kubeconfig=admin.conf --leader-elect=false
  cluster-image-registry-operator storage-check --list-only`,
		Args:          noArguments,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := options.Validate(); err != nil {
				return usageError{err}
			}
			if err := options.ReadEnvironment(os.LookupEnv, os.ReadFile); err != nil {
				return err
			}
			logger := logging.Setup(registryv1.OperatorName, 2)
			return run(command.Context(), options, logger.SetVerbosity)
		},
	}
	options.AddFlags(command.Flags())
	command.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	command.AddCommand(storageCheck(stdout))
	command.AddCommand(&cobra.Command{
		Use:   "version",
		Short: "Print the version of this binary",
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(stdout, version.Get())
			return err
		},
	})
	return command
}

func noArguments(command *cobra.Command, args []string) error {
	if err := cobra.NoArgs(command, args); err != nil {
		return usageError{err}
	}
	return nil
}
