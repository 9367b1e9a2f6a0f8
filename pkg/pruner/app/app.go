// Package app is the command line of the pruner: it reads flags, builds clients, runs a prune and turns its
// outcome into an exit code.
//
// In come the arguments of the process and a context that ends with a signal. Out come the report on
// stdout, notices and errors on stderr, the termination message for the operator and one of the documented
// exit codes. Without --confirm nothing is changed anywhere.
//
// It holds the order of a run and no rule of pruning; those are in package plan.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"image.alauda.io/registry/pkg/version"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitReferences  = 3
	exitRefused     = 4
	exitRegistry    = 5
	exitInterrupted = 130
	exitTerminated  = 143
)

// exitError carries the exit code of a failure.
type exitError struct {
	code int
	err  error
	// again: another attempt may succeed.
	again bool
}

func (e *exitError) Error() string { return e.err.Error() }

func (e *exitError) Unwrap() error { return e.err }

func failure(code int, format string, args ...any) error {
	return &exitError{code: code, err: fmt.Errorf(format, args...)}
}

// retryable is a failure with which the attempts of --retries are made.
func retryable(code int, err error) error { return &exitError{code: code, err: err, again: true} }

// Run executes the command line and returns the exit code.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	command := newCommand()
	command.SetArgs(args)
	command.SetOut(stdout)
	command.SetErr(stderr)
	err := command.ExecuteContext(ctx)
	code := exitCode(ctx, err)
	if err != nil {
		fmt.Fprintln(stderr, "pruner: "+message(err))
	}
	if code == exitUsage {
		fmt.Fprintln(stderr, "Run 'pruner --help' for usage.")
	}
	return code
}

// exitCode: what cobra itself complains about is a mistake in usage.
func exitCode(ctx context.Context, err error) int {
	if code := signalCode(ctx); code != exitOK && err != nil {
		return code
	}
	if err == nil {
		return exitOK
	}
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	return exitUsage
}

// signalCode is 128 plus the number of the signal that ended ctx, the code that shells expect.
func signalCode(ctx context.Context) int {
	if ctx.Err() == nil {
		return exitOK
	}
	if cause := context.Cause(ctx); cause != nil && strings.Contains(cause.Error(), "interrupt") {
		return exitInterrupted
	}
	return exitTerminated
}

const rootText = `The pruner finds out which images nobody needs any more and removes them from the Image API.
It changes nothing unless it is told to with --confirm.

The cluster is found by --kubeconfig, else by KUBECONFIG, else by ~/.kube/config; inside a Pod its
ServiceAccount is used.

Exit codes: 0 complete, 1 some changes failed and the others were made, 2 wrong usage, 3 who uses images
could not be found out, 4 refused (rights, --max-delete-percent, guards of the collection), 5 the registry
cannot be used, 130 and 143 ended by a signal. With 2 to 5 nothing was changed.`

const rootExamples = `  pruner images
  pruner images --keep-tag-revisions=5 --keep-younger-than=72h --confirm
  pruner explain team-a/app:v1
  pruner top images`

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "pruner",
		Short:         "Remove old tag history and unused images",
		Long:          rootText,
		Example:       rootExamples,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	root.AddCommand(newImagesCommand(), newGCCommand(), newRootsCommand(), newTopCommand(), newExplainCommand(), newVerifyCommand(), &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(command.OutOrStdout(), version.Get())
			return err
		},
	})
	return root
}
