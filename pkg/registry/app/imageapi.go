package app

import (
	"context"

	"image.alauda.io/registry/pkg/registry/imageapi"
	"image.alauda.io/registry/pkg/registry/limits"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/streams"
)

// streamViews makes the views of image streams. What was remembered of the blobs of a stream
// ends with it: the next stream of its name may be somebody else's.
func (b *builder) streamViews(context.Context) error {
	views, err := streams.New(streams.Options{
		API: b.API, Source: b.Streams, Now: b.Now, Log: b.Log, Observer: b.registry.Metrics,
		Gone: func(name route.Name) { b.handlers.Cache.ForgetRepository(name.String()) },
	})
	if err != nil {
		return err
	}
	b.registry.Streams, b.handlers.Streams = views, views
	return nil
}

// imageAPI lets requests use the image API through a client that tells the views about writes.
func (b *builder) imageAPI(context.Context) error {
	b.API = b.registry.Streams.Client(b.API)
	b.handlers.API = b.API
	b.handlers.Pusher = &imageapi.Pusher{Client: b.API, Now: b.Now, Wait: b.Wait}
	b.handlers.Signatures = b.Signatures
	if quota := b.c.Alauda.Quota; quota.Enabled && b.Limits != nil {
		b.handlers.Limits = limits.New(b.Limits, limits.Options{TTL: quota.CacheTTL, Now: b.Now})
	}
	return nil
}
