package app

import (
	"context"

	"image.alauda.io/registry/pkg/registry/config"
	"image.alauda.io/registry/pkg/registry/digestcache"
	"image.alauda.io/registry/pkg/registry/server"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"go.uber.org/zap"
)

// openStorage makes the configured driver with its middleware. Nothing is asked yet, so a
// storage that does not answer keeps the registry from being ready, not from starting.
func openStorage(ctx context.Context, c *config.Config) (driver.StorageDriver, error) {
	name, parameters, err := c.StorageParameters()
	if err != nil {
		return nil, err
	}
	return store.OpenDriver(ctx, name, parameters, c.Configuration.Middleware["storage"])
}

// blobStore puts the store on the driver. The layer that measures is the outermost one, it
// replaces nothing that is configured.
func blobStore(ctx context.Context, c *config.Config, deps Dependencies, metrics *server.Metrics, known *digestcache.Cache) (*store.Store, error) {
	observed := store.Observe(deps.Driver, store.ObserveOptions{Observer: metrics, Place: c.StoragePlace(), Limit: c.Alauda.HTTP.IOTimeout})
	return store.New(ctx, observed, store.Options{
		ReadOnly: c.ReadOnly(), Observer: metrics, Now: deps.Now, MaxManifest: c.Alauda.Manifests.MaxSize,
		OnDelete: known.Forget, OnDeletion: metrics.BlobDeletion,
	})
}

// digestCache makes the cache; nil when it is disabled.
func digestCache(c *config.Config, deps Dependencies, metrics *server.Metrics) (*digestcache.Cache, error) {
	options := digestcache.DefaultOptions()
	options.TTL, options.Now, options.Observer = c.Alauda.Cache.BlobRepositoryTTL, deps.Now, metrics
	if c.Alauda.Cache.Disabled {
		options.TTL = 0
	}
	return digestcache.New(options)
}

// storageLog tells administrators why the registry is not ready. The answer of the probe
// only says that it is not, because anybody may ask it.
func storageLog(log *zap.Logger) func(error) {
	return func(err error) {
		if err != nil {
			log.Error("the storage does not work", zap.Error(err))
			return
		}
		log.Info("the storage works again")
	}
}
