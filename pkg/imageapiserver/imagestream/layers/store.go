package layers

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/validation"
	"image.alauda.io/registry/pkg/oci/manifest"
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

// NewRecord reduces an Image to what layers are computed from. Layers that are
// kept elsewhere are left out: no repository serves them.
func NewRecord(image *imageapi.Image) *Record {
	record := &Record{
		Name:      image.Name,
		Created:   image.CreationTimestamp.Time,
		Managed:   image.Annotations[imagev1.ManagedByAlaudaAnnotation] == "true",
		MediaType: image.DockerImageManifestMediaType,
		ConfigID:  image.DockerImageMetadata.ID,
	}
	since, err := validation.ParseTime(image.Annotations[imagev1.ImageManagedTimeAnnotation])
	if err == nil && since.After(record.Created) {
		record.Created = since
	}
	for _, layer := range image.DockerImageLayers {
		if !manifest.IsForeignLayer(layer.MediaType) {
			record.Layers = append(record.Layers, layer)
		}
	}
	for _, child := range image.DockerImageManifests {
		record.Children = append(record.Children, child.Digest)
	}
	return record
}
