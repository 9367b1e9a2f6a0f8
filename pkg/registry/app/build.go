package app

import (
	"context"
	"time"

	"image.alauda.io/registry/pkg/registry/audit"
	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/config"
	"image.alauda.io/registry/pkg/registry/gc"
	"image.alauda.io/registry/pkg/registry/gc/online"
	"image.alauda.io/registry/pkg/registry/handlers"
	"image.alauda.io/registry/pkg/registry/imageapi"
	"image.alauda.io/registry/pkg/registry/limits"
	"image.alauda.io/registry/pkg/registry/pullthrough"
	"image.alauda.io/registry/pkg/registry/purge"
	"image.alauda.io/registry/pkg/registry/server"
	"image.alauda.io/registry/pkg/registry/signatures"
	"image.alauda.io/registry/pkg/registry/store"
	"image.alauda.io/registry/pkg/registry/streams"
	"image.alauda.io/registry/pkg/registry/tracing"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"go.uber.org/zap"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// Dependencies are what the registry talks to. Tests give their own.
type Dependencies struct {
	API      imageapi.Client
	Reviewer auth.Reviewer
	Driver   driver.StorageDriver
	// Signatures are those of the image API; nil serves none.
	Signatures signatures.Client
	// Audit is told about every request; Tracing sends spans. Both may be nil.
	Audit   *audit.Logger
	Tracing *tracing.Tracing
	// Limits reads what namespaces allow; nil checks nothing.
	Limits limits.Source
	Log    *zap.Logger
	Now    func() time.Time
	// Wait pauses between attempts and returns early with the context's error.
	Wait func(ctx context.Context, delay time.Duration) error
	// Clock is that of timers; nil for the real one.
	Clock clock.WithTicker
	// Metadata says what is in use; nil lets every collection fail. Leases hold reports
	// of collections; nil keeps them in this process.
	Metadata gc.Metadata
	Leases   online.Leases
	// Streams lists and watches the metadata of image streams; nil for reading each time.
	Streams cache.ListerWatcherWithContext
}

// Registry is a complete server that does not listen yet.
type Registry struct {
	Server  *server.Server
	Store   *store.Store
	Health  *server.Health
	Metrics *server.Metrics
	// PullThrough works in the background; who builds a Registry stops it.
	PullThrough *pullthrough.Service
	// Collections are made in the background; who builds a Registry stops them.
	Collections *online.Service
	// Purger removes abandoned uploads; nil when nothing is to be removed.
	Purger *purge.Purger
	// Streams follow the image streams when they are run.
	Streams *streams.Views
	// Certificate is nil without TLS.
	Certificate *server.Certificate
}

// Build puts a registry together. Nothing is started and nothing is asked.
func Build(ctx context.Context, c *config.Config, deps Dependencies) (*Registry, error) {
	b := &builder{
		Dependencies: deps, c: c,
		handlers: &handlers.Handlers{Log: deps.Log, Now: deps.Now, Wait: deps.Wait},
		registry: &Registry{Metrics: server.NewMetrics()},
	}
	// Each step may use what those before it made.
	for _, step := range []func(context.Context) error{
		b.digestCache,
		b.blobStore,
		b.streamViews,
		b.imageAPI,
		b.access,
		b.requests,
		b.pullThrough,
		b.collections,
		b.purging,
		b.metrics,
		b.health,
		b.server,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return b.registry, nil
}

// builder is a registry that is being built: what it is built of, and what is there so far.
type builder struct {
	Dependencies
	c        *config.Config
	handlers *handlers.Handlers
	registry *Registry
}
