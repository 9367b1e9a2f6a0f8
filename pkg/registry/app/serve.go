package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
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

	"go.uber.org/zap"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

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
	return registry.run(ctx, c, listener, log.Logger)
}

// run starts the background work and serves.
func (r *Registry) run(ctx context.Context, c *config.Config, listener net.Listener, log *zap.Logger) error {
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
	wait.Go(func() {
		if err := r.Store.KeepReserve(background); err != nil {
			log.Warn("no space is set aside for collections on a full storage", zap.Error(err))
		}
	})
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
	kubeConfig.Wrap(logging.Hanging(klog.FromContext(ctx), clock.RealClock{}, logging.HangingAfter))
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
	calls := rest.CopyConfig(kubeConfig)
	calls.Timeout = c.Alauda.KubeClient.Timeout
	if deps.API, err = imageapi.NewKubeClient(calls); err != nil {
		return deps, err
	}
	if deps.Signatures, err = signatures.NewKubeClient(calls); err != nil {
		return deps, err
	}
	deps.Streams, err = streams.NewKubeSource(kubeConfig)
	return deps, err
}

// restConfig finds the Kubernetes API.
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

// wait pauses, and returns early with the context's error.
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
