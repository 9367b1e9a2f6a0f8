package app

import (
	"context"
	"time"

	"image.alauda.io/registry/pkg/registry/config"
	"image.alauda.io/registry/pkg/registry/digestcache"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/distribution/distribution/v3/registry/storage/driver"
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

// openStore opens the storage for a mode, whose work nobody measures.
func openStore(ctx context.Context, c *config.Config, readOnly bool) (*store.Store, error) {
	storage, err := openStorage(ctx, c)
	if err != nil {
		return nil, err
	}
	return store.New(ctx, storage, store.Options{ReadOnly: readOnly, Now: time.Now, MaxManifest: c.Alauda.Manifests.MaxSize})
}

// digestCache makes the cache of digests; nil when it is disabled.
func (b *builder) digestCache(context.Context) error {
	options := digestcache.DefaultOptions()
	options.TTL, options.Now, options.Observer = b.c.Alauda.Cache.BlobRepositoryTTL, b.Now, b.registry.Metrics
	if b.c.Alauda.Cache.Disabled {
		options.TTL = 0
	}
	var err error
	b.handlers.Cache, err = digestcache.New(options)
	return err
}

// blobStore puts the store on the driver. The layer that measures is the outermost one, it
// replaces nothing that is configured.
func (b *builder) blobStore(ctx context.Context) error {
	observed := store.Observe(b.Driver, store.ObserveOptions{Observer: b.registry.Metrics, Place: b.c.StoragePlace(), Limit: b.c.Alauda.HTTP.IOTimeout})
	blobs, err := store.New(ctx, observed, store.Options{
		ReadOnly: b.c.ReadOnly(), Observer: b.registry.Metrics, Now: b.Now, MaxManifest: b.c.Alauda.Manifests.MaxSize,
		OnDelete: b.handlers.Cache.Forget, OnDeletion: b.registry.Metrics.BlobDeletion,
		OnUnlink: func(name route.Name) { b.handlers.Cache.ForgetRepository(name.String()) },
	})
	b.registry.Store, b.handlers.Store = blobs, blobs
	return err
}
