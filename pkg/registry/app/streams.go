package app

import (
	"time"

	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/handlers"
	"image.alauda.io/registry/pkg/registry/server"
	"image.alauda.io/registry/pkg/registry/streams"
)

// catalogTTL is how long it is remembered which namespaces a list of repositories shows.
const catalogTTL = time.Minute

// streamViews makes the views of image streams. From here on the API of the dependencies
// is the one that tells the views about writes.
func streamViews(deps *Dependencies, metrics *server.Metrics) (*streams.Views, error) {
	views, err := streams.New(streams.Options{
		API: deps.API, Source: deps.Streams, Now: deps.Now, Log: deps.Log, Observer: metrics,
	})
	if err != nil {
		return nil, err
	}
	metrics.WatchStreams(views.Healthy, views.Bytes)
	deps.API = views.Client(deps.API)
	return views, nil
}

// catalogReviews makes the reviews of lists of repositories. They are remembered longer
// than others, unless remembering is switched off.
func catalogReviews(reviewer auth.Reviewer, options auth.Options) (*handlers.Catalog, error) {
	for _, ttl := range []*time.Duration{&options.AllowTTL, &options.DenyTTL} {
		if *ttl > 0 {
			*ttl = max(*ttl, catalogTTL)
		}
	}
	authorizer, err := auth.NewAuthorizer(reviewer, options)
	if err != nil {
		return nil, err
	}
	return handlers.NewCatalog(authorizer), nil
}
