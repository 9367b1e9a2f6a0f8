package app

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"image.alauda.io/registry/pkg/operator/storage/check"
	"image.alauda.io/registry/pkg/operator/storage/preflight"
)

// StorageCheckCommand is the subcommand that the operator runs as a process of its own.
const StorageCheckCommand = "storage-check"

// maxStorageCheck bounds the time of a check by hand.
const maxStorageCheck = time.Hour

// storageCheck is the command that tests a storage. Its exit code tells only whether there is a result.
func storageCheck(stdout io.Writer) *cobra.Command {
	options := check.Options{Timeout: preflight.DefaultOptions().Deadline, Now: time.Now}
	command := &cobra.Command{
		Use:   StorageCheckCommand,
		Short: "Test an object store the way the registry uses it",
		Long: `Tests the object store that the REGISTRY_STORAGE variables describe, as the registry would use it, and
prints the result as one line of JSON. The operator runs it with the variables and files of the registry's
Pod. It writes below .preflight/ in the root of the storage, removes that again, and makes no bucket.`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if options.Timeout <= 0 || options.Timeout > maxStorageCheck {
				return usageError{fmt.Errorf("--timeout must be above 0 and at most %s", maxStorageCheck)}
			}
			return json.NewEncoder(stdout).Encode(check.FromEnvironment(command.Context(), options))
		},
	}
	command.Flags().DurationVar(&options.Timeout, "timeout", options.Timeout, "time after which the check has failed")
	command.Flags().BoolVar(&options.ListOnly, "list-only", false, "only list the root of the storage, write nothing")
	command.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	return command
}

// newProber makes what keeps testing the storage.
func newProber(o Options, onChange func()) (*preflight.Prober, error) {
	options := preflight.DefaultOptions()
	if o.StorageCheck.Deadline > 0 {
		options.Deadline = o.StorageCheck.Deadline
	}
	if o.StorageCheck.List > 0 {
		options.List = o.StorageCheck.List
	}
	options.OnChange = onChange
	command := o.StorageCheck.Command
	if len(command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("storage check: %w", err)
		}
		command = []string{self, StorageCheckCommand}
	}
	options.Check = preflight.Child{Command: command, Environ: os.Environ}.Check
	return preflight.New(options)
}
