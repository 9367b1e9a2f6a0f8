package image

import (
	"errors"
	"fmt"
	"slices"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/oci/manifest"
)

// complete fills the description of an image from the raw manifest and config
// that it carries. An image without manifest, as the registry sends it, and an
// image that is described already are left alone but for the order of layers.
func complete(image *imageapi.Image, now time.Time) error {
	if image.DockerImageManifest == "" {
		return nil
	}
	if described(image) {
		normaliseOrder(image)
		return nil
	}
	parsed, err := manifest.Parse([]byte(image.DockerImageManifest), image.DockerImageManifestMediaType)
	if err != nil {
		return fmt.Errorf("manifest of image %s: %w", image.Name, err)
	}
	if !parsed.IsIndex() && image.DockerImageConfig == "" {
		return errors.New("dockerImageConfig must not be empty when dockerImageManifest is given")
	}
	apply(image, manifest.Describe(parsed, manifest.Facts{Config: []byte(image.DockerImageConfig), Now: now}))
	return nil
}

// described tells whether everything that a manifest could add is there.
func described(image *imageapi.Image) bool {
	if image.DockerImageManifestMediaType == "" || image.DockerImageMetadata.Size == 0 {
		return false
	}
	return len(image.DockerImageLayers) > 0 || len(image.DockerImageManifests) > 0
}

// normaliseOrder turns layers that are listed top first.
func normaliseOrder(image *imageapi.Image) {
	if len(image.DockerImageLayers) == 0 {
		return
	}
	if image.Annotations[imagev1.DockerImageLayersOrderAnnotation] == imagev1.DockerImageLayersOrderDescending {
		slices.Reverse(image.DockerImageLayers)
	}
	annotate(image, imagev1.DockerImageLayersOrderAnnotation, imagev1.DockerImageLayersOrderAscending)
}

func apply(image *imageapi.Image, description manifest.Description) {
	image.DockerImageManifestMediaType = description.MediaType
	image.DockerImageMetadataVersion = imagev1.DockerImageMetadataVersion
	image.DockerImageMetadata = description.Metadata
	image.DockerImageMetadata.Kind, image.DockerImageMetadata.APIVersion = "", ""
	image.DockerImageLayers = nil
	for _, layer := range description.Layers {
		image.DockerImageLayers = append(image.DockerImageLayers, imageapi.ImageLayer(layer))
	}
	image.DockerImageManifests = nil
	for _, child := range description.Manifests {
		image.DockerImageManifests = append(image.DockerImageManifests, imageapi.ImageManifest(child))
	}
	for key, value := range description.Annotations {
		annotate(image, key, value)
	}
}

func annotate(image *imageapi.Image, key, value string) {
	if image.Annotations == nil {
		image.Annotations = map[string]string{}
	}
	image.Annotations[key] = value
}

// hashesTo tells whether the digest of text is name.
func hashesTo(text, name string) bool {
	want, err := manifest.ParseDigest(name)
	return err == nil && manifest.Verify([]byte(text), want) == nil
}

// configDigest is the digest of the config that the manifest of an image
// names, empty when the image carries no readable manifest.
func configDigest(image *imageapi.Image) string {
	parsed, err := manifest.Parse([]byte(image.DockerImageManifest), image.DockerImageManifestMediaType)
	if err != nil || parsed.Config == nil {
		return ""
	}
	return parsed.Config.Digest.String()
}
