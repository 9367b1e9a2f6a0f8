package app

import (
	"bufio"
	"context"
	"errors"

	"image.alauda.io/registry/pkg/registry/config"
	"image.alauda.io/registry/pkg/registry/recovery"
)

// runList lists what the storage holds. It asks nobody but the storage and writes nothing.
func runList(ctx context.Context, c *config.Config, m *modes, to output) error {
	log := modeLog(c)
	defer log.Sync() //nolint:errcheck // stderr cannot be synced everywhere
	blobs, err := openStore(ctx, c, true)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriter(to.out)
	lister := recovery.Lister{Store: blobs, Output: buffered, Problems: to.problems}
	switch {
	case m.listRepositories:
		err = lister.Repositories(ctx)
	case m.listBlobs:
		err = lister.Blobs(ctx)
	case m.listManifests:
		err = lister.Manifests(ctx)
	default:
		err = lister.ManifestsFrom(ctx, m.listManifestsFrom)
	}
	return errors.Join(err, buffered.Flush())
}
