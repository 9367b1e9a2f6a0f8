package gc

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"

	imagev1 "image.alauda.io/api/image/v1"
	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"
)

// anyDigest finds digests in texts of unknown form.
var anyDigest = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// readMetadata marks everything that the API names.
//
// Streams are read before Images. Whoever adds an image to a stream stores the Image
// first, so an Image that a stream of the first list names is in the second list with all
// that it consists of, unless it was pruned in between; only then its stored manifest has
// to be asked. An Image that is not in the second list came after it, and then its
// pusher's markers, or the list that is read before blobs go, protect what it needs. In
// the other order, every push during the two lists would be an image without Image.
func (r *run) readMetadata(ctx context.Context) error {
	if err := r.guardBlocked(ctx); err != nil {
		return err
	}
	if err := r.Metadata.StreamPages(ctx, r.markStreams); err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	images := 0
	err := r.Metadata.ImagePages(ctx, func(page []imagev1.Image) error {
		images += len(page)
		return r.markImages(page)
	})
	if err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	for _, d := range store.Constants() {
		if key, ok := keyOf(d.String()); ok {
			r.mark(key, live)
		}
	}
	r.imagesSeen = images
	return ctx.Err()
}

func (r *run) guardBlocked(ctx context.Context) error {
	config, err := r.Metadata.RegistryConfig(ctx)
	if err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	if config != nil && config.Annotations[imageregistryv1.BlockGCAnnotation] == "true" {
		return &Guard{GuardBlocked, "Config " + config.Name + " has the annotation " + imageregistryv1.BlockGCAnnotation}
	}
	return nil
}

// guardEmpty refuses to take a cluster that knows no image for the owner of the storage.
//
// An empty storage is no reason: a new registry is collected without an error. Links without
// any blob are one, as soon as some would go.
func (r *run) guardEmpty() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.report.TotalBlobs + r.report.Links + r.report.Repositories
	if r.imagesSeen > 0 || r.options.AllowEmptyMetadata || found == 0 {
		return nil
	}
	return &Guard{GuardEmpty, fmt.Sprintf("the Image list is empty, but the storage has %d blobs and %d repositories; it may belong to another cluster",
		r.report.TotalBlobs, r.report.TotalRepositories)}
}

func (r *run) guardPercent() error {
	limit, total, candidates := int64(r.options.MaxPercent), r.report.TotalBlobs, r.report.CandidateCount
	if limit == 0 || candidates*100 <= limit*total {
		return nil
	}
	return &Guard{GuardPercent, fmt.Sprintf("%d of %d blobs would be deleted, more than %d percent", candidates, total, limit)}
}

func (r *run) markStreams(page []imagev1.ImageStream) error {
	for i := range page {
		stream := &page[i]
		name := route.Name{Namespace: stream.Namespace, Stream: stream.Name}
		seen := map[uint32]bool{}
		members := []uint32{}
		for _, tag := range stream.Status.Tags {
			for _, event := range tag.Items {
				key, ok := keyOf(event.Image)
				if !ok {
					continue // a tag that only keeps a reference
				}
				if index := r.digests.mark(key, live|unread); !seen[index] {
					seen[index] = true
					members = append(members, index)
				}
			}
		}
		r.streams[name] = members
	}
	return nil
}

func (r *run) markImages(page []imagev1.Image) error {
	for i := range page {
		if err := r.markImage(&page[i]); err != nil {
			return err
		}
	}
	return nil
}

// markImage marks what an Image names. An Image that does not say what it consists of is
// looked up in the storage; if it does not claim to have its manifest there, nobody knows.
func (r *run) markImage(image *imagev1.Image) error {
	key, ok := keyOf(image.Name)
	if !ok {
		return &Guard{GuardUnknown, fmt.Sprintf("the name of Image %q is no digest, so its blobs cannot be determined", image.Name)}
	}
	config, err := configOf(image)
	if err != nil {
		return err
	}
	described := len(image.DockerImageLayers) > 0 || len(image.DockerImageManifests) > 0
	if !described && config == "" && image.Annotations[imagev1.ImageManifestBlobStoredAnnotation] != "true" {
		return &Guard{GuardUnknown, "Image " + image.Name + " has neither layers nor children nor a config, so its blobs cannot be determined"}
	}
	index := r.digests.mark(key, live|hasImage)
	if described && !r.configMissing(image, config) {
		r.digests.at(index).flags &^= unread
	} else {
		r.digests.at(index).flags |= unread
	}
	r.markBlob(config)
	r.markBlob(image.Annotations[imagev1.ImageConfigDigestAnnotation])
	for _, layer := range image.DockerImageLayers {
		r.markBlob(layer.Name)
	}
	for _, child := range image.DockerImageManifests {
		r.markManifest(child.Digest)
	}
	r.markManifest(image.Annotations[imagev1.ImageSubjectAnnotation])
	for _, named := range anyDigest.FindAllString(image.DockerImageManifest, -1) {
		r.markManifest(named)
	}
	return nil
}

// configMissing tells whether an Image has layers, but not the config that must belong to them.
func (r *run) configMissing(image *imagev1.Image, config string) bool {
	_, known := keyOf(config)
	_, annotated := keyOf(image.Annotations[imagev1.ImageConfigDigestAnnotation])
	return len(image.DockerImageLayers) > 0 && !known && !annotated
}

// configOf reads the identity from the metadata of an Image: the config of a manifest, or
// the digest of an index itself.
func configOf(image *imagev1.Image) (string, error) {
	var metadata struct {
		ID string `json:"Id"`
	}
	if raw := image.DockerImageMetadata.Raw; len(raw) > 0 {
		if err := json.Unmarshal(raw, &metadata); err != nil {
			return "", &Guard{GuardUnknown, fmt.Sprintf("the metadata of Image %s cannot be read, so its blobs cannot be determined: %v", image.Name, err)}
		}
	}
	return metadata.ID, nil
}

// markBlob marks bytes that consist of nothing else.
func (r *run) markBlob(text string) {
	if key, ok := keyOf(text); ok {
		r.mark(key, live)
	}
}

// markManifest marks a manifest whose Image may be missing.
func (r *run) markManifest(text string) {
	if key, ok := keyOf(text); ok {
		r.markManifestKey(key)
	}
}

func (r *run) markManifestKey(key [32]byte) {
	add := live
	if r.flags(key)&hasImage == 0 {
		add |= unread
	}
	r.mark(key, add)
}

func (r *run) mark(key [32]byte, add flags) uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.digests.mark(key, add)
}

func (r *run) flags(key [32]byte) flags {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.digests.flags(key)
}
