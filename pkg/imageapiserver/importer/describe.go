package importer

import (
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	imageapiv1 "image.alauda.io/registry/pkg/imageapiserver/apis/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/validation"
	"image.alauda.io/registry/pkg/oci/manifest"
)

// described is an Image that belongs to nobody yet: its reference is written when it is
// handed to an item.
type described struct {
	image *imageapi.Image
	// digest is the one under which the registry has it; it differs from the name of the
	// image when the user or an index named it by another algorithm.
	digest string
	// size is about what the Image takes in memory and in an answer.
	size int64
}

// evidence is what a description is made of, all of it read from a registry.
type evidence struct {
	manifest *manifest.Manifest
	// digest the manifest was asked for; empty if it was asked for by tag.
	digest digest.Digest
	// platform is what an index says; nil without one.
	platform *v1.Platform
	// config is nil for an index and for artifacts.
	config []byte
	// childrenSize is for an index.
	childrenSize int64
	// children of an index by the digest that names them there; nil where the registry
	// does not have one.
	children map[digest.Digest]*manifest.Manifest
	// raw keeps manifest and config on the image.
	raw bool
}

// describe builds the Image of a manifest. It is a pure function of what was read and fails
// for content that the API could not store.
func describe(e evidence, now time.Time, maxBytes int) (*described, error) {
	m := e.manifest
	facts := manifest.Facts{Config: e.config, Platform: e.platform, ChildrenSize: e.childrenSize, Now: now, Canonical: e.canonical}
	if facts.Platform == nil {
		facts.Platform = &v1.Platform{}
	}
	versioned := &imagev1.Image{}
	versioned.Name = m.Digest.String()
	description := manifest.Describe(m, facts)
	e.completeChildren(description.Manifests)
	if err := description.Apply(versioned, maxBytes); err != nil {
		return nil, err
	}
	image := &imageapi.Image{}
	if err := imageapiv1.Convert_v1_Image_To_image_Image(versioned, image, nil); err != nil {
		return nil, err
	}
	size := int64(len(versioned.DockerImageMetadata.Raw)) + listBytes(m)
	if e.raw {
		image.DockerImageManifest, image.DockerImageConfig = string(m.Raw), string(e.config)
		size += int64(len(m.Raw)) + int64(len(e.config))
	}
	result := &described{image: image, digest: e.digest.String(), size: size}
	if result.digest == "" {
		result.digest = image.Name
	}
	return result, storable(image)
}

// canonical names a child by the sha256 digest of what was read under another one.
func (e evidence) canonical(d digest.Digest) digest.Digest {
	if child := e.children[d]; child != nil {
		return child.Digest
	}
	return d
}

// completeChildren fills media types that an index leaves out, since the API requires them.
func (e evidence) completeChildren(entries []imagev1.ImageManifest) {
	for i := range entries {
		if entries[i].MediaType != "" {
			continue
		}
		entries[i].MediaType = manifest.OCIManifest
		if child := e.children[e.manifest.Manifests[i].Digest]; child != nil {
			entries[i].MediaType = child.MediaType
		}
	}
}

// listBytes estimates the JSON of layers and children and of what surrounds them.
func listBytes(m *manifest.Manifest) int64 {
	const object, entry = 1 << 10, 200
	size := int64(object)
	for _, list := range [][]v1.Descriptor{m.Layers, m.Manifests} {
		for _, descriptor := range list {
			size += entry + int64(len(descriptor.MediaType))
		}
	}
	return size
}

// storable refuses what the API would refuse: better the item says so than the request that
// stores it.
func storable(image *imageapi.Image) error {
	probe := *image
	probe.DockerImageReference = "registry/image@" + image.Name
	if problems := validation.Image(&probe, nil); len(problems) > 0 {
		return invalid("the image cannot be recorded: %s", shorten(problems[0].Error()))
	}
	return nil
}

// issue makes the Image of an item from what was found.
func (d *described) issue(written string, raw, last bool) *imageapi.Image {
	image := d.image
	if !last {
		image = d.image.DeepCopy()
	}
	image.DockerImageReference = written
	if !raw {
		image.DockerImageManifest, image.DockerImageConfig = "", ""
	}
	return image
}
