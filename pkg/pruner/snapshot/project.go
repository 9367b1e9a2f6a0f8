package snapshot

import (
	"cmp"
	"encoding/json"
	"math"
	"time"

	"github.com/opencontainers/go-digest"

	imagev1 "image.alauda.io/api/image/v1"
)

// managedAlias is an older spelling of the managed annotation.
const managedAlias = "image.alauda.io/managed"

// Image is what is kept of an Image.
type Image struct {
	Digest          string
	UID             string
	ResourceVersion string
	Created         time.Time
	// LastReferenced is when the Image was last taken up again; zero if never.
	LastReferenced time.Time
	// Managed: it was pushed to this registry. Keep: somebody asked to keep it. Incomplete: what it
	// consists of is not known yet.
	Managed, Keep, Incomplete bool
	// Size in bytes, of the content that the Image describes.
	Size     int64
	Children []string
	Subject  string
	// Config is the digest of the configuration, which some runtimes take for the name of the image; empty for
	// indexes and where it is not known.
	Config string
}

// Revision is one entry of the history of a tag, newest first.
type Revision struct {
	Digest  string
	Created time.Time
}

// Tag is the history of a tag with what is wanted of it.
type Tag struct {
	Name      string
	Revisions []Revision
	// Declared: the tag stands in spec.tags. Keep: it is annotated to be kept.
	Declared, Keep bool
}

// Stream is what is kept of an ImageStream.
type Stream struct {
	Namespace, Name string
	Created         time.Time
	Keep            bool
	// LocalLookup: short image names in the namespace mean this stream.
	LocalLookup bool
	Tags        []Tag
}

// Key returns "namespace/name".
func (s Stream) Key() string { return s.Namespace + "/" + s.Name }

// ImageOf projects an Image. What cannot be understood makes it incomplete, never an error.
func ImageOf(image *imagev1.Image) Image { return recordOf(image).project() }

func (r record) project() Image {
	notes := r.Metadata.Annotations
	projected := Image{
		Digest:          r.Metadata.Name,
		UID:             string(r.Metadata.UID),
		ResourceVersion: r.Metadata.ResourceVersion,
		Created:         r.Metadata.CreationTimestamp.Time,
		Managed:         notes[imagev1.ManagedByAlaudaAnnotation] == "true" || notes[managedAlias] == "true",
		Keep:            notes[imagev1.KeepAnnotation] == "true",
		Subject:         notes[imagev1.ImageSubjectAnnotation],
	}
	if at, err := time.Parse(time.RFC3339, notes[imagev1.ImageLastReferencedTimeAnnotation]); err == nil {
		projected.LastReferenced = at
	}
	for _, child := range r.DockerImageManifests {
		projected.Children = append(projected.Children, child.Digest)
	}
	// What is larger counts, as when the image was pushed: metadata may have come from somewhere else.
	projected.Size = max(r.DockerImageMetadata.Size, layersSize(r.DockerImageLayers))
	projected.Config = cmp.Or(notes[imagev1.ImageConfigDigestAnnotation], r.DockerImageMetadata.ID)
	empty := len(r.DockerImageLayers) == 0 && projected.Config == "" && len(projected.Children) == 0 &&
		notes[imagev1.ImageManifestBlobStoredAnnotation] != "true"
	_, digestErr := digest.Parse(r.Metadata.Name)
	projected.Incomplete = r.DockerImageMetadata.err != nil || empty || digestErr != nil
	return projected
}

// layersSize is the size of the distinct layers; it stops at the largest number.
func layersSize(layers []layer) int64 {
	total := int64(0)
	counted := make(map[string]bool, len(layers))
	for _, layer := range layers {
		if counted[layer.Name] || layer.Size <= 0 {
			continue
		}
		counted[layer.Name] = true
		if total > math.MaxInt64-layer.Size {
			return math.MaxInt64
		}
		total += layer.Size
	}
	return total
}

type metadata struct {
	ID   string `json:"Id"`
	Size int64  `json:"Size"`
}

func decodeMetadata(raw []byte) (metadata, error) {
	var decoded metadata
	if len(raw) == 0 {
		return decoded, nil
	}
	err := json.Unmarshal(raw, &decoded)
	return decoded, err
}

// StreamOf projects an ImageStream. A revision without a time takes the one of its stream.
func StreamOf(stream *imagev1.ImageStream) Stream {
	projected := Stream{
		Namespace:   stream.Namespace,
		Name:        stream.Name,
		Created:     stream.CreationTimestamp.Time,
		Keep:        stream.Annotations[imagev1.KeepAnnotation] == "true",
		LocalLookup: stream.Spec.LookupPolicy.Local,
	}
	type wanted struct{ declared, keep bool }
	spec := map[string]wanted{}
	for _, tag := range stream.Spec.Tags {
		spec[tag.Name] = wanted{declared: true, keep: tag.Annotations[imagev1.KeepAnnotation] == "true"}
	}
	for _, history := range stream.Status.Tags {
		tag := Tag{Name: history.Tag, Declared: spec[history.Tag].declared, Keep: spec[history.Tag].keep}
		for _, event := range history.Items {
			created := event.Created.Time
			if created.IsZero() {
				created = projected.Created
			}
			tag.Revisions = append(tag.Revisions, Revision{Digest: event.Image, Created: created})
		}
		projected.Tags = append(projected.Tags, tag)
	}
	return projected
}
