// Package app is the command line of the binary image-registry.
//
// Run reads the configuration, connects to the storage and to the Kubernetes API and
// serves until its context ends. Build puts the parts together without starting
// anything; tests call it with a storage and an API in memory. What the parts do is
// written in their packages.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/logging"
	"image.alauda.io/registry/pkg/memlimit"
	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/config"
	"image.alauda.io/registry/pkg/registry/gc"
	"image.alauda.io/registry/pkg/registry/imageapi"
	"image.alauda.io/registry/pkg/registry/limits"
	"image.alauda.io/registry/pkg/registry/signatures"
	"image.alauda.io/registry/pkg/registry/streams"
	"image.alauda.io/registry/pkg/registry/tracing"
	"image.alauda.io/registry/pkg/version"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Exit codes.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

const component = "image-registry"

// errUsage marks errors of the command line.
var errUsage = errors.New("usage")

// Run executes the command and returns the exit code.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	command := newCommand()
	command.SetArgs(normalise(args))
	command.SetOut(stdout)
	command.SetErr(stderr)
	err := command.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "%s\nRun '%s --help' for usage.\n", err, component)
		return exitUsage
	case errors.Is(err, errProblems):
		fmt.Fprintf(stderr, "%s: %s\n", component, err)
		return exitProblems
	case errors.Is(err, errRefused):
		fmt.Fprintf(stderr, "%s: %s\n", component, err)
		return exitRefused
	}
	fmt.Fprintf(stderr, "%s: %s\n", component, err)
	return exitError
}

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

// serve runs the registry until the context ends.
func serve(ctx context.Context, stdout io.Writer, path string) (err error) {
	c, warnings, err := config.Load(path)
	if err != nil {
		return err
	}
	log := logging.SetupWith(logOptions(c.Configuration.Log))
	defer log.Sync() //nolint:errcheck // stderr cannot be synced everywhere
	for _, warning := range warnings {
		log.Warn(warning)
	}
	log.Debug("memory limit", zap.Int64("bytes", memlimit.Apply()))
	watchers, err := startWatchers(ctx, c, stdout, log.Logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, watchers.stop()) }()
	deps, err := connect(ctx, c, watchers.tracing, log.Logger)
	if err != nil {
		return err
	}
	deps.Audit, deps.Tracing = watchers.audit, watchers.tracing
	registry, err := Build(ctx, c, deps)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Configuration.HTTP.Addr)
	if err != nil {
		return fmt.Errorf("http.addr: %w", err)
	}
	log.Info("serving", zap.String("address", listener.Addr().String()), zap.String("version", version.Get().Version))
	return registry.run(ctx, c, listener)
}

// run starts the background work and serves.
func (r *Registry) run(ctx context.Context, c *config.Config, listener net.Listener) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wait sync.WaitGroup
	defer wait.Wait()
	defer stop()
	defer r.PullThrough.Stop()
	defer r.Collections.Stop()
	defer context.AfterFunc(ctx, r.Collections.Interrupt)()
	if check := c.Configuration.Health.StorageDriver; check.Enabled {
		wait.Go(func() { r.Health.Watch(background, check.Interval, r.Store.Check) })
	}
	if r.Purger != nil {
		wait.Go(func() { r.Purger.Run(background) })
	}
	wait.Go(func() { r.Streams.Run(background) })
	if r.Certificate != nil {
		wait.Go(func() { r.Certificate.Watch(background) })
	}
	return r.Server.Run(ctx, listener)
}

// connect opens the storage and makes the clients. Neither needs to answer yet.
func connect(ctx context.Context, c *config.Config, traces *tracing.Tracing, log *zap.Logger) (Dependencies, error) {
	deps := Dependencies{Log: log, Now: time.Now, Wait: wait}
	storage, err := openStorage(ctx, c)
	if err != nil {
		return deps, err
	}
	deps.Driver = storage
	if c.NoAuth() {
		return withoutCluster(ctx, c, deps)
	}
	kubeConfig, err := restConfig(c)
	if err != nil {
		return deps, err
	}
	if traces != nil {
		kubeConfig.Wrap(func(next http.RoundTripper) http.RoundTripper { return traces.Wrap("API", true, next) })
	}
	client, err := kubernetes.NewForConfig(kubeConfig)
	if err != nil {
		return deps, fmt.Errorf("kubernetes client: %w", err)
	}
	deps.Reviewer = auth.NewKubeReviewer(client)
	deps.Limits = limits.NewKubeSource(client)
	deps.Leases = client.CoordinationV1().Leases(imagev1.RegistryNamespace)
	if deps.Metadata, err = gc.NewKubeMetadata(kubeConfig); err != nil {
		return deps, err
	}
	if deps.API, err = imageapi.NewKubeClient(kubeConfig); err != nil {
		return deps, err
	}
	if deps.Signatures, err = signatures.NewKubeClient(kubeConfig); err != nil {
		return deps, err
	}
	deps.Streams, err = streams.NewKubeSource(kubeConfig)
	return deps, err
}

func restConfig(c *config.Config) (*rest.Config, error) {
	path := c.Alauda.Kubeconfig
	if path == "" {
		path = os.Getenv("KUBECONFIG")
	}
	kubeConfig, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("kubernetes configuration: %w", err)
	}
	kubeConfig.QPS, kubeConfig.Burst = c.Alauda.KubeClient.QPS, c.Alauda.KubeClient.Burst
	kubeConfig.UserAgent = version.UserAgent(component)
	return kubeConfig, nil
}

func wait(ctx context.Context, delay time.Duration) error {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
