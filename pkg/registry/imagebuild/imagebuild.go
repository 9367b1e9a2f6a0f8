// Package imagebuild makes the Image object of a manifest that is stored here.
//
// In: a manifest that was checked, the repository that it belongs to, and what the manifest
// needs beside itself: its config out of the store, and for an index those of its children
// that the repository may read. Out: an Image that says that its bytes are in this registry.
//
// A push and the recovery of lost metadata use the same Builder, so that an Image that was
// lost comes back as it was. Nothing is written, neither to the store nor to the image API,
// and nothing is decided about who may read what: the caller says which children count.
package imagebuild

import (
	"context"
	"errors"
	"math"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
)

const (
	// maxImageBytes bounds the JSON of an Image that the registry sends.
	maxImageBytes = 512 << 10
	maxIndexDepth = 3
)

// Builder makes Images.
type Builder struct {
	Store *store.Store
	// ServerAddr is the prefix of references.
	ServerAddr string
	// Now becomes the creation time of indexes.
	Now func() time.Time
}

// Sources answer what an Image depends on.
type Sources struct {
	// Canonical maps a digest that the manifest names to the stored one; others stay.
	Canonical func(digest.Digest) digest.Digest
	// Child returns the canonical digest of a manifest that the repository may read, or
	// store.ErrNotFound.
	Child func(ctx context.Context, named digest.Digest) (digest.Digest, error)
}

// Stored reads a manifest from the store.
func (b Builder) Stored(ctx context.Context, canonical digest.Digest) (*manifest.Manifest, error) {
	raw, err := b.Store.Manifest(ctx, canonical)
	if err != nil {
		return nil, err
	}
	return manifest.Parse(raw, "")
}

// Image builds the Image of a manifest of the repository.
func (b Builder) Image(ctx context.Context, name route.Name, m *manifest.Manifest, sources Sources) (*imagev1.Image, error) {
	facts := manifest.Facts{Now: b.Now(), Canonical: sources.Canonical}
	if m.IsIndex() {
		sum := childrenSum{builder: b, child: sources.Child, seen: map[digest.Digest]bool{}}
		size, err := sum.below(ctx, m, maxIndexDepth)
		if err != nil {
			return nil, err
		}
		facts.ChildrenSize = size
	} else if manifest.IsImageConfig(m.Config.MediaType) && m.Config.Size <= manifest.MaxConfigBytes {
		config, err := b.Store.Manifest(ctx, sources.Canonical(m.Config.Digest))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		facts.Config = config
	}
	image := &imagev1.Image{}
	image.Name = m.Digest.String()
	image.Annotations = map[string]string{
		imagev1.ManagedByAlaudaAnnotation:         "true",
		imagev1.ImageManifestBlobStoredAnnotation: "true",
	}
	image.DockerImageReference = b.ServerAddr + "/" + name.String() + "@" + image.Name
	return image, manifest.Describe(m, facts).Apply(image, maxImageBytes)
}

// childrenSum adds up what is stored and readable here below an index. Each digest counts
// once: a small index may name one child ten thousand times.
type childrenSum struct {
	builder Builder
	child   func(context.Context, digest.Digest) (digest.Digest, error)
	seen    map[digest.Digest]bool
}

func (s childrenSum) below(ctx context.Context, m *manifest.Manifest, depth int) (int64, error) {
	var total int64
	for _, child := range m.Manifests {
		if depth == 0 || s.seen[child.Digest] || len(s.seen) == manifest.MaxDescriptors {
			continue
		}
		s.seen[child.Digest] = true
		size, err := s.of(ctx, child.Digest, depth)
		if err != nil {
			return 0, err
		}
		total = addUp(total, size)
	}
	return total, nil
}

func (s childrenSum) of(ctx context.Context, named digest.Digest, depth int) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	canonical, err := s.child(ctx, named)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	child, err := s.builder.Stored(ctx, canonical)
	var defect *manifest.Error
	switch {
	case errors.Is(err, store.ErrNotFound), errors.As(err, &defect):
		return 0, nil
	case err != nil:
		return 0, err
	case child.IsIndex():
		size, err := s.below(ctx, child, depth-1)
		return addUp(int64(len(child.Raw)), size), err
	}
	return BlobsSize(child), nil
}

// BlobsSize is the size of an image: its config and each distinct layer once.
func BlobsSize(m *manifest.Manifest) int64 {
	var size int64
	for _, blob := range m.Blobs() {
		size = addUp(size, blob.Size)
	}
	return size
}

func addUp(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
