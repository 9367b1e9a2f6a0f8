package layers

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// parallelReads is how many Images one request reads at a time.
const parallelReads = 8

// Finder reads one Image. A missing one is a NotFound error.
type Finder interface {
	Find(ctx context.Context, name string) (*imageapi.Image, error)
}

// StoreIndex is the Index without memory: it reads every Image from the store.
type StoreIndex struct {
	images Finder
}

// NewStoreIndex reads from images.
func NewStoreIndex(images Finder) *StoreIndex { return &StoreIndex{images: images} }

// Records reads the Images of the digests, a few at a time.
func (s *StoreIndex) Records(ctx context.Context, digests []string) (map[string]*Record, error) {
	records := make(map[string]*Record, len(digests))
	var mutex sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelReads)
	for _, digest := range digests {
		group.Go(func() error {
			image, err := s.images.Find(ctx, digest)
			if apierrors.IsNotFound(err) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("image %s: %w", digest, err)
			}
			mutex.Lock()
			defer mutex.Unlock()
			records[digest] = NewRecord(image)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return records, nil
}

// NewRecord reduces an Image to what layers are computed from.
func NewRecord(image *imageapi.Image) *Record {
	record := &Record{
		Name:      image.Name,
		Created:   image.CreationTimestamp.Time,
		MediaType: image.DockerImageManifestMediaType,
		ConfigID:  image.DockerImageMetadata.ID,
		Layers:    append([]imageapi.ImageLayer(nil), image.DockerImageLayers...),
	}
	for _, child := range image.DockerImageManifests {
		record.Children = append(record.Children, child.Digest)
	}
	return record
}
