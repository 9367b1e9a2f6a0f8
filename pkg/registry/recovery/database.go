package recovery

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

const (
	// parallelImages is how many images of a page are compared with the storage at a time.
	parallelImages = 16
	// rememberedSizes bounds the blobs whose size is remembered: base layers are in
	// thousands of images.
	rememberedSizes = 100_000
)

// imageKey is a sha256 digest in 32 bytes: there may be hundreds of thousands.
type imageKey [32]byte

func keyOf(d digest.Digest) (key imageKey) {
	_, _ = hex.Decode(key[:], []byte(d.Encoded())) // ParseDigest has checked it
	return key
}

// database compares the objects of the image API with the storage.
func (r *Recovery) database(ctx context.Context) error {
	wanted, err := r.wantedImages(ctx)
	if err != nil {
		return err
	}
	existing := map[imageKey]struct{}{}
	err = r.Metadata.ImagePages(ctx, func(page []imagev1.Image) error {
		r.progress("checking the images")
		return r.images(ctx, page, wanted, existing)
	})
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	err = r.Metadata.StreamPages(ctx, func(page []imagev1.ImageStream) error {
		for i := range page {
			if r.Namespace != "" && page[i].Namespace != r.Namespace {
				continue
			}
			r.progress("checking the image streams")
			if err := r.stream(ctx, &page[i], existing); err != nil {
				return fmt.Errorf("image stream %s/%s: %w", page[i].Namespace, page[i].Name, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("image streams: %w", err)
	}
	return nil
}

// wantedImages are the images of a single namespace; nil stands for all.
func (r *Recovery) wantedImages(ctx context.Context) (map[imageKey]struct{}, error) {
	if r.Namespace == "" {
		return nil, nil
	}
	wanted := map[imageKey]struct{}{}
	err := r.Metadata.StreamPages(ctx, func(page []imagev1.ImageStream) error {
		for i := range page {
			if page[i].Namespace != r.Namespace {
				continue
			}
			layers, err := r.API.Layers(ctx, route.Name{Namespace: page[i].Namespace, Stream: page[i].Name})
			if apierrors.IsNotFound(err) {
				continue
			}
			if err != nil {
				return fmt.Errorf("layers of %s/%s: %w", page[i].Namespace, page[i].Name, err)
			}
			for name := range layers.Images {
				if d, err := manifest.ParseDigest(name); err == nil {
					wanted[keyOf(d)] = struct{}{}
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("image streams of %s: %w", r.Namespace, err)
	}
	return wanted, nil
}

// finding is what is to be reported about an image.
type finding struct {
	problem string
	// lacking are the annotations to be set; problem is then about them.
	lacking map[string]string
}

// images checks a page; the storage is asked for several images at a time, and the report
// is in the order of the list.
func (r *Recovery) images(ctx context.Context, page []imagev1.Image, wanted, existing map[imageKey]struct{}) error {
	found := make([][]finding, len(page))
	var group errgroup.Group
	group.SetLimit(parallelImages)
	for i := range page {
		d, err := manifest.ParseDigest(page[i].Name)
		if err != nil || d.Algorithm() != digest.SHA256 {
			if wanted == nil {
				found[i] = []finding{{problem: "the name is not a sha256 digest"}}
			}
			continue
		}
		existing[keyOf(d)] = struct{}{}
		if wanted != nil {
			if _, asked := wanted[keyOf(d)]; !asked {
				continue
			}
		}
		r.summary.Images++
		group.Go(func() error {
			findings, err := r.image(ctx, &page[i], d)
			found[i] = findings
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i := range page {
		for _, one := range found[i] {
			if err := r.reportImage(ctx, &page[i], one); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Recovery) reportImage(ctx context.Context, image *imagev1.Image, one finding) error {
	object := "image " + image.Name
	if image.DockerImageReference != "" {
		object += " (" + image.DockerImageReference + ")"
	}
	if one.lacking == nil {
		return r.problem(object, "%s", one.problem)
	}
	if r.recovers() {
		err := r.API.AnnotateImage(ctx, image.Name, one.lacking)
		if apierrors.IsNotFound(err) {
			return nil // it has just been deleted
		}
		if err != nil {
			return fmt.Errorf("%s: %w", object, err)
		}
	}
	return r.repairable(object, one.problem, "set annotations")
}

// image compares one Image with the storage.
func (r *Recovery) image(ctx context.Context, image *imagev1.Image, d digest.Digest) ([]finding, error) {
	repository, own := r.ownRepository(image, d)
	managed := image.Annotations[imagev1.ManagedByAlaudaAnnotation] == "true"
	if !managed && !own {
		return nil, nil // imported; its content is elsewhere
	}
	_, err := r.sizes.of(ctx, d)
	if errors.Is(err, store.ErrNotFound) {
		return []finding{{problem: "its manifest is missing in the storage"}}, nil
	}
	if err != nil {
		return nil, err
	}
	found, err := r.content(ctx, image)
	if err != nil {
		return nil, err
	}
	marks, err := r.marks(ctx, image, d, repository, managed)
	if marks.problem != "" {
		found = append(found, marks)
	}
	return found, err
}

// ownRepository tells which repository of this registry an Image says that it comes from.
func (r *Recovery) ownRepository(image *imagev1.Image, d digest.Digest) (route.Name, bool) {
	repository, ours := strings.CutPrefix(image.DockerImageReference, r.ServerAddr+"/")
	repository, named := strings.CutSuffix(repository, "@"+d.String())
	if !ours || !named {
		return route.Name{}, false
	}
	name, err := route.ParseName(repository, r.ServerAddr)
	return name, err == nil
}

// content looks for the config and the layers.
func (r *Recovery) content(ctx context.Context, image *imagev1.Image) ([]finding, error) {
	var found []finding
	look := func(what, name string, want int64) error {
		d, err := manifest.ParseDigest(name)
		if err != nil || d.Algorithm() != digest.SHA256 {
			found = append(found, finding{problem: fmt.Sprintf("its %s has a bad digest: %q", what, name)})
			return nil
		}
		size, err := r.sizes.of(ctx, d)
		switch {
		case errors.Is(err, store.ErrNotFound):
			found = append(found, finding{problem: fmt.Sprintf("its %s %s is missing in the storage", what, d)})
		case err != nil:
			return err
		case want >= 0 && size != want:
			found = append(found, finding{problem: fmt.Sprintf("its %s %s has %d bytes in the storage and not %d", what, d, size, want)})
		}
		return nil
	}
	if config := image.Annotations[imagev1.ImageConfigDigestAnnotation]; config != "" {
		if err := look("config", config, -1); err != nil {
			return nil, err
		}
	}
	seen := map[string]bool{}
	for _, layer := range image.DockerImageLayers {
		if seen[layer.Name] || manifest.IsForeignLayer(layer.MediaType) {
			continue
		}
		seen[layer.Name] = true
		if err := look("layer", layer.Name, layer.LayerSize); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// marks finds the annotations that an Image of a push has and this one lacks. That its
// bytes are here is said only of an Image that its repository links with all that it needs:
// what the mark opens must have been proven.
func (r *Recovery) marks(ctx context.Context, image *imagev1.Image, d digest.Digest, name route.Name, managed bool) (finding, error) {
	stored := image.Annotations[imagev1.ImageManifestBlobStoredAnnotation] == "true"
	config := image.Annotations[imagev1.ImageConfigDigestAnnotation] != "" || len(image.DockerImageManifests) > 0
	if managed && stored && config {
		return finding{}, nil
	}
	canonicalOf := func(d digest.Digest) digest.Digest { return d }
	var parsed *manifest.Manifest
	if name != (route.Name{}) {
		link, err := r.Store.Link(ctx, name, store.Revisions, d)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return finding{}, err
		}
		if link == d {
			check := &verifier{Recovery: r, name: name, seen: map[digest.Digest]verdict{}}
			proven, result, err := check.check(ctx, d, maxDepth)
			if err != nil {
				return finding{}, err
			}
			if result.defect() == "" {
				parsed, canonicalOf, managed = proven.Manifest, proven.canonicalOf, true
			}
		}
	}
	if !managed {
		return finding{}, nil
	}
	if parsed == nil {
		var err error
		if parsed, err = r.readable(ctx, d); err != nil || parsed == nil {
			return finding{}, err
		}
	}
	expected := map[string]string{imagev1.ManagedByAlaudaAnnotation: "true", imagev1.ImageManifestBlobStoredAnnotation: "true"}
	if !parsed.IsIndex() {
		if c := canonicalOf(parsed.Config.Digest); c.Algorithm() == digest.SHA256 {
			expected[imagev1.ImageConfigDigestAnnotation] = c.String()
		}
	}
	lacking := map[string]string{}
	for key, value := range expected {
		if image.Annotations[key] != value {
			lacking[key] = value
		}
	}
	if len(lacking) == 0 {
		return finding{}, nil
	}
	return finding{problem: "it lacks annotations that an image of this registry has: " + strings.Join(slices.Sorted(maps.Keys(lacking)), ", "), lacking: lacking}, nil
}

// readable reads a manifest; nil if it is damaged, which a pull shows.
func (r *Recovery) readable(ctx context.Context, d digest.Digest) (*manifest.Manifest, error) {
	parsed, err := r.builder.Stored(ctx, d)
	var defect *manifest.Error
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrCorrupt) || errors.As(err, &defect) {
		return nil, nil
	}
	return parsed, err
}

// sizes asks the storage for blobs and remembers some.
type sizes struct {
	store *store.Store
	mu    sync.Mutex
	known map[digest.Digest]int64
}

func (s *sizes) of(ctx context.Context, d digest.Digest) (int64, error) {
	s.mu.Lock()
	size, found := s.known[d]
	s.mu.Unlock()
	if found {
		return size, nil
	}
	info, err := s.store.Stat(ctx, d)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || len(s.known) >= rememberedSizes {
		s.known = map[digest.Digest]int64{}
	}
	s.known[d] = info.Size
	return info.Size, nil
}
