package membership

import (
	"context"
	"errors"
	"slices"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/registry/digestcache"
	"image.alauda.io/registry/pkg/registry/imageapi"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// maxProofs bounds the manifests that are read to find one that needs a blob.
const maxProofs = 16

// isLocalImage tells whether the digest is an Image that the stream has as its own. An
// index may name digests that were nobody's when it came; without an Image such a digest
// can turn out to be anything, also a layer that another tenant pushes later.
func isLocalImage(layers *imagev1.ImageStreamLayers, d digest.Digest) bool {
	entry, found := layers.Images[d.String()]
	return found && entry.Local && !entry.ImageMissing
}

// opens tells whether a local entry of the stream opens a blob that is not linked: the
// manifest itself, or what its stored bytes say that must be stored here. The answer of
// the API alone does not suffice, because it lists foreign layers as well, whose digests
// nobody had to prove.
func (s *Scope) opens(ctx context.Context, d digest.Digest) (bool, error) {
	layers, err := s.Layers(ctx)
	if err != nil {
		return false, err
	}
	if isLocalImage(layers, d) {
		return true, nil
	}
	proofs := 0
	for name, image := range layers.Images {
		if !image.Local || image.ImageMissing || !mentions(image, d) {
			continue
		}
		if proofs++; proofs > maxProofs {
			break
		}
		needed, err := s.neededBy(ctx, name, image)
		if err != nil {
			return false, err
		}
		if needed[d] {
			return true, nil
		}
	}
	return false, nil
}

func mentions(image imagev1.ImageBlobReferences, d digest.Digest) bool {
	return image.Config != nil && *image.Config == d.String() || slices.Contains(image.Layers, d.String())
}

// neededBy reads what a manifest needs to be stored, by canonical digests.
func (s *Scope) neededBy(ctx context.Context, name string, image imagev1.ImageBlobReferences) (map[digest.Digest]bool, error) {
	if known, found := s.needs[name]; found {
		return known, nil
	}
	needed := map[digest.Digest]bool{}
	d, err := manifest.ParseDigest(name)
	if err != nil {
		return needed, nil //nolint:nilerr // what is no digest has no manifest
	}
	proven, err := s.wasPushed(ctx, name)
	if err != nil || !proven {
		return needed, err
	}
	raw, err := s.store.ServedManifest(ctx, d, nil)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrCorrupt) {
		return nil, err
	}
	if parsed, parseErr := manifest.Parse(raw, ""); err == nil && parseErr == nil {
		for _, blob := range parsed.Stored() {
			canonical := canonicalOf(blob.Digest, parsed, image)
			needed[canonical] = true
			s.remember(canonical, digestcache.SizeUnknown)
		}
	}
	if s.needs == nil {
		s.needs = map[string]map[digest.Digest]bool{}
	}
	s.needs[name] = needed
	return needed, nil
}

// wasPushed tells whether what a manifest names was proven when it came. What the stream's
// own events name was. A child of an index was, if its Image was made by a push: one that
// somebody imported may name anything, and a sparse index makes it local.
func (s *Scope) wasPushed(ctx context.Context, name string) (bool, error) {
	for _, parent := range s.layers.value.Images {
		if !slices.Contains(parent.Manifests, name) {
			continue
		}
		image, err := s.api.Image(ctx, name)
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, imageapi.Unavailable(err)
		}
		return image.Annotations[imagev1.ManagedByAlaudaAnnotation] == "true", nil
	}
	return true, nil
}

// canonicalOf finds the canonical digest of a blob that its manifest names by another
// algorithm: the Image lists the same layers in the same order.
func canonicalOf(named digest.Digest, parsed *manifest.Manifest, image imagev1.ImageBlobReferences) digest.Digest {
	if named.Algorithm() == digest.SHA256 {
		return named
	}
	if parsed.Config != nil && parsed.Config.Digest == named && image.Config != nil {
		return digest.Digest(*image.Config)
	}
	if len(parsed.Layers) != len(image.Layers) {
		return named
	}
	for i, layer := range parsed.Layers {
		if layer.Digest == named {
			return digest.Digest(image.Layers[i])
		}
	}
	return named
}
