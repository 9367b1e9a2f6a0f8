package manifest

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"image.alauda.io/api/image/docker10"
	imagev1 "image.alauda.io/api/image/v1"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MaxConfigBytes is the largest config blob that is worth reading for a description.
const MaxConfigBytes = 8 << 20

// maxShortText is what a text may have, in bytes, to stay in metadata that are too large.
const maxShortText = 128

// Facts are what a description needs beside the manifest itself.
type Facts struct {
	// Config is the config blob, nil when it is too large, missing or not an image's.
	Config []byte
	// Platform is what an index says about this manifest. Used for artifacts only.
	Platform *v1.Platform
	// ChildrenSize is the sum of the sizes of the known children of an index.
	ChildrenSize int64
	// Now becomes the creation time of an index.
	Now time.Time
	// Canonical maps a digest of another algorithm to sha256; nil keeps all digests.
	Canonical func(digest.Digest) digest.Digest
}

// Description is what an Image object says about a manifest.
type Description struct {
	MediaType string
	Layers    []imagev1.ImageLayer
	Manifests []imagev1.ImageManifest
	Metadata  docker10.DockerImage
	// Annotations: order of layers, config digest, subject, artifact type.
	Annotations map[string]string
}

// Describe builds the description. A config that does not decode is not an error:
// it leaves the metadata with Id and Size alone, because artifacts bring configs of
// every kind.
func Describe(m *Manifest, facts Facts) Description {
	canonical := facts.Canonical
	if canonical == nil {
		canonical = func(d digest.Digest) digest.Digest { return d }
	}
	d := Description{MediaType: m.MediaType, Annotations: annotations(m, canonical)}
	if m.IsIndex() {
		d.Manifests = children(m, canonical)
		created := metav1.NewTime(facts.Now.UTC().Truncate(time.Second))
		d.Metadata.ID = m.Digest.String()
		d.Metadata.Created = &created
		d.Metadata.Size = addSizes(int64(len(m.Raw)), facts.ChildrenSize)
	} else {
		d.Layers = layers(m, canonical)
		d.Metadata = metadata(m, facts)
		d.Metadata.ID = canonical(m.Config.Digest).String()
		d.Metadata.Size = imageSize(m)
	}
	d.Metadata.TypeMeta = metav1.TypeMeta{Kind: imageMetadataKind, APIVersion: imageMetadataAPI}
	return d
}

// Apply writes the description into an Image. maxBytes limits the JSON of the whole
// Image: above it the labels, the container config, the config and then long texts are
// left out of the metadata. Zero means no limit.
func (d Description) Apply(image *imagev1.Image, maxBytes int) error {
	image.DockerImageManifestMediaType = d.MediaType
	image.DockerImageLayers = d.Layers
	image.DockerImageManifests = d.Manifests
	image.DockerImageMetadataVersion = imageMetadataVersion
	if image.Annotations == nil {
		image.Annotations = map[string]string{}
	}
	for key, value := range d.Annotations {
		image.Annotations[key] = value
	}
	for _, reduced := range d.reductions() {
		raw, err := json.Marshal(reduced)
		if err != nil {
			return fmt.Errorf("metadata of image %s: %w", image.Name, err)
		}
		image.DockerImageMetadata.Raw = raw
		whole, err := json.Marshal(image)
		if err != nil {
			return fmt.Errorf("image %s: %w", image.Name, err)
		}
		if maxBytes == 0 || len(whole) <= maxBytes {
			break
		}
	}
	return nil
}

// reductions lists the metadata from complete to smallest.
func (d Description) reductions() []docker10.DockerImage {
	full := d.Metadata
	list := []docker10.DockerImage{full}
	if full.Config != nil {
		config := *full.Config
		config.Labels = nil
		full.Config = &config
		list = append(list, full)
	}
	full.ContainerConfig = nil
	list = append(list, full)
	full.Config = nil
	list = append(list, full)
	for _, text := range []*string{
		&full.Parent, &full.Comment, &full.Container, &full.DockerVersion, &full.Author,
		&full.Architecture, &full.OS, &full.OSVersion, &full.Variant,
	} {
		if len(*text) > maxShortText {
			*text = ""
		}
	}
	return append(list, full)
}

func annotations(m *Manifest, canonical func(digest.Digest) digest.Digest) map[string]string {
	set := map[string]string{}
	if !m.IsIndex() {
		set[imagev1.DockerImageLayersOrderAnnotation] = imagev1.DockerImageLayersOrderAscending
		set[imagev1.ImageConfigDigestAnnotation] = canonical(m.Config.Digest).String()
	}
	if m.Subject != nil {
		set[imagev1.ImageSubjectAnnotation] = canonical(m.Subject.Digest).String()
	}
	if artifactType := m.EffectiveArtifactType(); artifactType != "" {
		set[imagev1.ImageArtifactTypeAnnotation] = artifactType
	}
	return set
}

func layers(m *Manifest, canonical func(digest.Digest) digest.Digest) []imagev1.ImageLayer {
	list := make([]imagev1.ImageLayer, 0, len(m.Layers))
	for _, layer := range m.Layers {
		list = append(list, imagev1.ImageLayer{Name: canonical(layer.Digest).String(), LayerSize: layer.Size, MediaType: layer.MediaType})
	}
	return list
}

// children fills architecture and os in any case: the API requires both.
func children(m *Manifest, canonical func(digest.Digest) digest.Digest) []imagev1.ImageManifest {
	list := make([]imagev1.ImageManifest, 0, len(m.Manifests))
	for _, child := range m.Manifests {
		entry := imagev1.ImageManifest{
			Digest: canonical(child.Digest).String(), MediaType: child.MediaType, ManifestSize: child.Size,
			Architecture: platformUnknown, OS: platformUnknown,
		}
		if child.Platform != nil {
			entry.Architecture = orUnknown(child.Platform.Architecture)
			entry.OS = orUnknown(child.Platform.OS)
			entry.Variant = child.Platform.Variant
		}
		list = append(list, entry)
	}
	return list
}

func orUnknown(text string) string {
	if text == "" {
		return platformUnknown
	}
	return text
}

// IsAttestation tells whether a child of an index describes another child instead of
// being an image that can be run.
func IsAttestation(child v1.Descriptor) bool {
	if child.Annotations[attestationAnnotation] != "" {
		return true
	}
	return child.Platform != nil && child.Platform.OS == platformUnknown && child.Platform.Architecture == platformUnknown
}

// imageSize counts the config and each distinct layer once.
func imageSize(m *Manifest) int64 {
	var total int64
	for _, blob := range m.Blobs() {
		total = addSizes(total, blob.Size)
	}
	return total
}

// addSizes stops at the largest number instead of turning negative: sizes come from
// the client.
func addSizes(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
