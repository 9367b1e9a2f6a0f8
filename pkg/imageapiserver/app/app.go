// Package app is the command line of image-api-server: flags, help, logging, and the exit code.
//
// In: arguments and the context that ends with a termination signal. Out: 0 after an orderly end, 1
// when the server cannot start or fails, 2 when the command line is wrong. It decides nothing about
// serving; that is in package server.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"image.alauda.io/registry/pkg/imageapiserver/server"
	"image.alauda.io/registry/pkg/logging"
	"image.alauda.io/registry/pkg/memlimit"
	"image.alauda.io/registry/pkg/version"
)

// Exit codes.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

const description = `Serves the API group image.alauda.io behind the aggregation layer of kube-apiserver: images,
image streams and their tags.

Clients are authenticated and authorised by kube-apiserver. Objects are stored in hidden custom
resources of the cluster (--image-storage=crd) or in an etcd (--image-storage=etcd with
--etcd-servers). Without --kubeconfig the server uses its service account.

Flags that most installations need: --tls-cert-file, --tls-private-key-file, --config, --controllers and
--image-storage; the others are those of every Kubernetes API server.

Environment:
  POD_NAMESPACE  namespace of the lease of the controllers (that of the service account)
  POD_NAME       holder of that lease (host name)

Exit codes: 0 ended on request or done, 1 error, 2 wrong usage.`

const examples = `  image-api-server --tls-cert-file=tls.crt --tls-private-key-file=tls.key
  image-api-server --image-storage=etcd --etcd-servers=https://etcd-0.etcd.db.svc:2379 --etcd-prefix=/registry/image.alauda.io
  image-api-server --controllers='*,-image-trigger'
  image-api-server storage export --file backup.jsonl
  image-api-server storage verify`

// quieter are messages of libraries that an idle server repeats.
var quieter = []logging.Quieter{
	// Priority and fairness shares out its seats every ten seconds, and each health probe changes the shares.
	{Message: "Update CurrentCL", Verbosity: 4},
}

// usageError marks errors of the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Run runs the command until it is done or the context ends, and returns the exit code.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	command := newCommand()
	command.SetArgs(args)
	command.SetOut(stdout)
	command.SetErr(stderr)
	err := command.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "%s: %v\n", command.Name(), err)
	var usage usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(stderr, "Run '%s --help' for usage.\n", command.Name())
		return exitUsage
	}
	return exitError
}

func newCommand() *cobra.Command {
	options := server.NewOptions()
	verbosity := 2
	command := &cobra.Command{
		Use:           "image-api-server",
		Short:         "Aggregated API server for images and image streams",
		Long:          description,
		Example:       examples,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			logging.Setup(server.ComponentName, verbosity, quieter...)
			options.Complete()
			if err := options.Validate(); err != nil {
				return usageError{err}
			}
			return serve(command.Context(), options)
		},
	}
	command.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	command.Flags().IntVarP(&verbosity, "v", "v", verbosity, "Log verbosity: 2 normal, 4 debug, 6 trace, 8 everything but the bodies of requests.")
	options.AddFlags(command.Flags())
	command.AddCommand(newVersionCommand(), newStorageCommand())
	return command
}

// noArguments refuses what is left of the command line behind the flags.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unexpected argument %q", args[0])}
	}
	return nil
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(command.OutOrStdout(), version.Get())
			return err
		},
	}
}

func serve(ctx context.Context, options *server.Options) error {
	klog.V(4).InfoS("Memory limit", "bytes", memlimit.Apply())
	config, err := server.NewConfig(ctx, options)
	if err != nil {
		return err
	}
	s, err := config.Complete().New()
	if err != nil {
		return err
	}
	return s.Run(ctx)
}
