package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/imageapiserver/server"
	"image.alauda.io/registry/pkg/imageapiserver/storage/transfer"
	"image.alauda.io/registry/pkg/logging"
)

// errFindings is the end of a run that reported what is wrong.
var errFindings = errors.New("not everything is as it should be, see above")

// storageCommand are the flags of the commands below storage.
type storageCommand struct {
	options   *transfer.Options
	backend   string
	from, to  string
	file      string
	overwrite bool
	namespace string
}

func newStorageCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "storage",
		Short: "Back up, restore, migrate and check what is stored",
		Long: `Reads and writes stored images and image streams directly, without the server.

Only metadata is handled here; the content of images is in the storage of the registry. Restored
metadata without its content, or content without its metadata, cannot be pulled.`,
		// Without it, a mistyped command would print the help and succeed.
		RunE: func(command *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q of storage", args[0])}
			}
			return command.Help()
		},
	}
	for _, build := range []func() *cobra.Command{newExportCommand, newImportCommand, newMigrateCommand, newVerifyCommand} {
		sub := build()
		sub.Args = noArguments
		sub.PreRun = func(*cobra.Command, []string) { logging.Setup(server.ComponentName, 0) }
		command.AddCommand(sub)
	}
	return command
}

func newExportCommand() *cobra.Command {
	s := &storageCommand{options: transfer.NewOptions()}
	command := &cobra.Command{
		Use:   "export",
		Short: "Write all images and image streams as lines of JSON",
		Long: `Writes each object as one line of JSON, images first, with uid, creation time and generation and
without resourceVersion. The server may run meanwhile. A file appears under its name only when it is
complete. Damaged records are reported and left out, and the exit code is 1 then.`,
		RunE: func(command *cobra.Command, _ []string) error {
			return s.withStore(command.Context(), func(store *transfer.Store) error {
				return s.export(command, store)
			})
		},
	}
	s.addFlags(command)
	command.Flags().StringVarP(&s.file, "file", "f", "-", "File to write; - is standard output.")
	return command
}

func newImportCommand() *cobra.Command {
	s := &storageCommand{options: transfer.NewOptions()}
	command := &cobra.Command{
		Use:   "import",
		Short: "Store the objects of an export",
		Long: `Stores each line of an export. What is stored already is left as it is, so that an interrupted import
can be repeated; --overwrite replaces it. The namespaces of image streams must exist. With the storage
crd the registry must be Removed: while it is Managed, only the server may write the records.`,
		RunE: func(command *cobra.Command, _ []string) error {
			return s.withStore(command.Context(), func(store *transfer.Store) error {
				return s.load(command, store)
			})
		},
	}
	s.addFlags(command)
	command.Flags().StringVarP(&s.file, "file", "f", "-", "File to read; - is standard input.")
	command.Flags().BoolVar(&s.overwrite, "overwrite", false, "Replace objects that differ from what is stored under their name.")
	return command
}

func newMigrateCommand() *cobra.Command {
	s := &storageCommand{options: transfer.NewOptions()}
	command := &cobra.Command{
		Use:   "migrate",
		Short: "Copy everything from one storage to the other",
		Long: `Copies all objects and compares both storages afterwards. No server may run: set the registry's
managementState to Removed first. The source is left as it is. Repeat the command after an interruption.`,
		RunE: func(command *cobra.Command, _ []string) error {
			if s.from == s.to {
				return usageError{errors.New("--from and --to must name the two storages")}
			}
			if err := s.options.Validate(s.from, s.to); err != nil {
				return usageError{err}
			}
			return s.migrate(command)
		},
	}
	s.options.AddFlags(command.Flags())
	command.Flags().StringVar(&s.from, "from", "", "Storage to read: crd or etcd.")
	command.Flags().StringVar(&s.to, "to", "", "Storage to write: etcd or crd.")
	command.Flags().BoolVar(&s.overwrite, "overwrite", false, "Replace objects that differ from what is stored under their name.")
	command.Flags().StringVar(&s.namespace, "namespace", registryv1.DefaultNamespace, "Namespace of the server, whose Lease tells whether it runs.")
	return command
}

func newVerifyCommand() *cobra.Command {
	s := &storageCommand{options: transfer.NewOptions()}
	command := &cobra.Command{
		Use:   "verify",
		Short: "Check everything that is stored",
		Long: `Decodes every record and compares the history of streams with the images. It writes nothing, and the
server may run meanwhile. The exit code is 1 when a record is damaged, an image that a stream names is
not stored, or two objects share a uid.`,
		RunE: func(command *cobra.Command, _ []string) error {
			return s.withStore(command.Context(), func(store *transfer.Store) error {
				findings, err := transfer.Verify(command.Context(), store, lines(command.OutOrStdout()))
				if err != nil {
					return err
				}
				fmt.Fprint(command.OutOrStdout(), findings)
				if findings.Faulty() {
					return errFindings
				}
				return nil
			})
		},
	}
	s.addFlags(command)
	return command
}

func (s *storageCommand) addFlags(command *cobra.Command) {
	s.options.AddFlags(command.Flags())
	command.Flags().StringVar(&s.backend, "image-storage", transfer.CRD, "Where images and image streams are stored: crd or etcd.")
}

func (s *storageCommand) withStore(ctx context.Context, work func(*transfer.Store) error) error {
	if err := s.options.Validate(s.backend); err != nil {
		return usageError{err}
	}
	store, err := s.options.Open(ctx, s.backend)
	if err != nil {
		return err
	}
	defer store.Close()
	return work(store)
}

// lines reports to a stream.
func lines(out io.Writer) transfer.Report {
	return func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
}

func (s *storageCommand) export(command *cobra.Command, store *transfer.Store) error {
	stderr := command.ErrOrStderr()
	var summary *transfer.Summary
	write := func(out io.Writer) (err error) {
		summary, err = transfer.Export(command.Context(), store, out, lines(stderr))
		return err
	}
	err := s.output(command, write)
	if err != nil {
		return err
	}
	return s.conclude(stderr, summary)
}

// output lets write fill the file, or standard output.
func (s *storageCommand) output(command *cobra.Command, write func(io.Writer) error) error {
	if s.file == "-" {
		return write(command.OutOrStdout())
	}
	return writeFile(s.file, write)
}

// writeFile writes a file that has its name only when it is complete.
func writeFile(name string, write func(io.Writer) error) error {
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	err = write(file)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}

func (s *storageCommand) load(command *cobra.Command, store *transfer.Store) error {
	in := command.InOrStdin()
	if s.file != "-" {
		file, err := os.Open(s.file)
		if err != nil {
			return err
		}
		defer file.Close()
		in = file
	}
	summary, err := transfer.Import(command.Context(), store, in, s.overwrite, lines(command.ErrOrStderr()))
	if err != nil {
		return errors.Join(err, s.conclude(command.ErrOrStderr(), summary))
	}
	return s.conclude(command.OutOrStdout(), summary)
}

// conclude prints a summary and fails when something was left out.
func (s *storageCommand) conclude(out io.Writer, summary *transfer.Summary) error {
	fmt.Fprint(out, summary)
	if summary.Incomplete() {
		return errFindings
	}
	return nil
}

func (s *storageCommand) migrate(command *cobra.Command) error {
	ctx, stdout := command.Context(), command.OutOrStdout()
	idle, err := s.idleCheck()
	if err != nil {
		return err
	}
	if err := idle(ctx); err != nil {
		return err
	}
	from, err := s.options.Open(ctx, s.from)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := s.options.Open(ctx, s.to)
	if err != nil {
		return err
	}
	defer to.Close()
	summary, differences, err := transfer.Migrate(ctx, from, to, s.overwrite, lines(command.ErrOrStderr()))
	fmt.Fprint(stdout, summary)
	if err != nil {
		return err
	}
	if err := idle(ctx); err != nil {
		return fmt.Errorf("the copy is not to be trusted, a server began to run meanwhile: %w", err)
	}
	if differences > 0 || summary.Incomplete() {
		return errFindings
	}
	fmt.Fprintf(stdout, "%s holds what %s holds\n", s.to, s.from)
	return nil
}

// idleCheck returns a check that no server runs.
func (s *storageCommand) idleCheck() (func(context.Context) error, error) {
	config, err := s.options.ClientConfig()
	if err != nil {
		return nil, err
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		holder, err := transfer.ServerRuns(ctx, kube, s.namespace, time.Now())
		if err == nil && holder != "" {
			err = fmt.Errorf("image-api-server runs (%s holds its Lease): set managementState of the registry to Removed first", holder)
		}
		return err
	}, nil
}
