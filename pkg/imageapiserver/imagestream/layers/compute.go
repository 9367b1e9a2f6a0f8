package layers

import (
	"context"
	"slices"
	"time"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/validation"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/history"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
	"image.alauda.io/registry/pkg/oci/manifest"
)

const (
	// maxDepth ends the descent into indexes of indexes; pushes refuse deeper
	// ones.
	maxDepth = 8
	// MaxReferences is how many layers and children the images of one stream may
	// name altogether. The answer names each, in about a hundred bytes. Who may
	// push decides how many there are: a thousand indexes of some thousand
	// children are soon there, and must not take the memory of the server.
	MaxReferences = 1_000_000
)

// Compute collects what the history of a stream names. It marks as local what
// entered through the stream's own repository.
func Compute(ctx context.Context, index Index, stream *imageapi.ImageStream, hosts repository.Hosts) (*imageapi.ImageStreamLayers, error) {
	roots := rootsOf(stream, hosts)
	records, missing, err := collect(ctx, index, history.Digests(stream))
	if err != nil {
		return nil, err
	}
	local := markLocal(roots, records)

	result := &imageapi.ImageStreamLayers{
		ObjectMeta: *stream.ObjectMeta.DeepCopy(),
		Blobs:      map[string]imageapi.ImageLayerData{},
		Images:     map[string]imageapi.ImageBlobReferences{},
	}
	for digest := range missing {
		result.Images[digest] = imageapi.ImageBlobReferences{ImageMissing: true, Local: local[digest]}
	}
	for digest, record := range records {
		describe(result, digest, record, local[digest])
	}
	return result, nil
}

// rootsOf returns, for each digest that a local history item names, the time
// of the newest such item.
func rootsOf(stream *imageapi.ImageStream, hosts repository.Hosts) map[string]time.Time {
	roots := map[string]time.Time{}
	for _, list := range stream.Status.Tags {
		for _, event := range list.Items {
			if event.Image == "" || !hosts.IsLocal(event.DockerImageReference, stream.Namespace, stream.Name) {
				continue
			}
			if known, found := roots[event.Image]; !found || event.Created.Time.After(known) {
				roots[event.Image] = event.Created.Time
			}
		}
	}
	return roots
}

// collect finds the records of digests and of everything below them.
func collect(ctx context.Context, index Index, digests []string) (records map[string]*Record, missing map[string]bool, err error) {
	records, missing = map[string]*Record{}, map[string]bool{}
	references := 0
	// A child counts once, however many indexes name it.
	wanted := make(map[string]bool, len(digests))
	for _, digest := range digests {
		wanted[digest] = true
	}
	for depth := 0; len(digests) > 0 && depth <= maxDepth; depth++ {
		found, err := index.Records(ctx, digests)
		if err != nil {
			return nil, nil, err
		}
		var next []string
		for _, digest := range digests {
			record := found[digest]
			if record == nil {
				missing[digest] = true
				continue
			}
			records[digest] = record
			if references += len(record.Layers) + len(record.Children); references > MaxReferences {
				return nil, nil, ErrTooLarge
			}
			for _, child := range record.Children {
				if !wanted[child] {
					wanted[child] = true
					next = append(next, child)
				}
			}
		}
		digests = next
	}
	return records, missing, nil
}

// markLocal returns the digests that local history items prove: their own
// images and what is below, except children whose bytes came after the index or
// have not come yet. An index that came before its child proves nothing about
// it: somebody else may bring the bytes. There is no grace, for who knows a
// digest beforehand could push indexes that name it until somebody brings it;
// Proof gives events the time that makes none necessary.
func markLocal(roots map[string]time.Time, records map[string]*Record) map[string]bool {
	proven := map[string]time.Time{}
	var visit func(digest string, since time.Time)
	visit = func(digest string, since time.Time) {
		if known, found := proven[digest]; found && !since.After(known) {
			return
		}
		proven[digest] = since
		record := records[digest]
		if record == nil {
			return
		}
		for _, child := range record.Children {
			below := records[child]
			if below == nil || !below.Managed || below.Created.After(since) {
				continue
			}
			visit(child, since)
		}
	}
	// The youngest first: then nothing is visited twice, however many indexes
	// have the same children.
	for _, digest := range youngestFirst(roots) {
		visit(digest, roots[digest])
	}
	local := make(map[string]bool, len(proven))
	for digest := range proven {
		local[digest] = true
	}
	return local
}

func youngestFirst(roots map[string]time.Time) []string {
	digests := make([]string, 0, len(roots))
	for digest := range roots {
		digests = append(digests, digest)
	}
	slices.SortFunc(digests, func(a, b string) int { return roots[b].Compare(roots[a]) })
	return digests
}

func describe(result *imageapi.ImageStreamLayers, digest string, record *Record, local bool) {
	mediaType := record.MediaType
	if mediaType == "" {
		mediaType = manifest.DockerManifest
	}
	references := imageapi.ImageBlobReferences{Local: local, Layers: []string{}, Manifests: record.Children}
	for _, layer := range record.Layers {
		size := layer.LayerSize
		references.Layers = append(references.Layers, layer.Name)
		result.Blobs[layer.Name] = imageapi.ImageLayerData{LayerSize: &size, MediaType: layer.MediaType}
	}
	if config := configOf(record, mediaType); config != "" {
		references.Config = &config
		result.Blobs[config] = imageapi.ImageLayerData{LayerSize: record.ConfigSize, MediaType: configType(mediaType)}
	}
	result.Images[digest] = references
	result.Blobs[digest] = imageapi.ImageLayerData{MediaType: mediaType}
}

// configOf is the digest of the config blob, empty for an index and for an
// image that is not described.
func configOf(record *Record, mediaType string) string {
	if mediaType != manifest.DockerManifest && mediaType != manifest.OCIManifest || !validation.IsDigest(record.ConfigID) {
		return ""
	}
	return record.ConfigID
}

func configType(mediaType string) string {
	if mediaType == manifest.OCIManifest {
		return manifest.OCIConfig
	}
	return manifest.DockerConfig
}
