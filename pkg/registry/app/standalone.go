package app

import (
	"context"

	"image.alauda.io/registry/pkg/registry/config"
	"image.alauda.io/registry/pkg/registry/standalone"
	"image.alauda.io/registry/pkg/registry/store"
)

// withoutCluster completes the dependencies of a registry with auth: none. Whether that is
// allowed here was decided when the configuration was checked.
func withoutCluster(ctx context.Context, c *config.Config, deps Dependencies) (Dependencies, error) {
	deps.Log.Warn("auth: none: everybody may read, write and delete everything; nothing is recorded in a cluster")
	links, err := store.New(ctx, deps.Driver, store.Options{ReadOnly: c.ReadOnly(), Now: deps.Now, MaxManifest: c.Alauda.Manifests.MaxSize})
	if err != nil {
		return deps, err
	}
	api := standalone.NewAPI(links, c.Alauda.Server.Addr, deps.Now)
	deps.API, deps.Metadata, deps.Reviewer = api, api.Metadata(), standalone.Reviewer{}
	return deps, nil
}
