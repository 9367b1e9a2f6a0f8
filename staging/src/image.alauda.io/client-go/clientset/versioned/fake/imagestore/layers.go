package imagestore

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/testing"

	"image.alauda.io/api/image/reference"
	imagev1 "image.alauda.io/api/image/v1"
)

const (
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	ociConfig      = "application/vnd.oci.image.config.v1+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
)

// layers answers for imagestreams/layers.
func (s *store) layers(action testing.Action) (bool, runtime.Object, error) {
	get, ok := action.(testing.GetActionImpl)
	if !ok {
		return false, nil, nil
	}
	stream, err := s.stream(get.GetNamespace(), get.GetName(), imagev1.ResourceNameImageStreams)
	if err != nil {
		return true, nil, err
	}
	return handled(s.contents(stream))
}

// streamImage answers for imagestreamimages: any image that a stream contains,
// by the beginning of its digest.
func (s *store) streamImage(action testing.Action) (bool, runtime.Object, error) {
	get, ok := action.(testing.GetActionImpl)
	if !ok {
		return false, nil, nil
	}
	return handled(s.getStreamImage(get.GetNamespace(), get.GetName()))
}

func (s *store) getStreamImage(namespace, name string) (*imagev1.ImageStreamImage, error) {
	streamName, id, err := reference.SplitStreamImage(name)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	stream, err := s.stream(namespace, streamName, imagev1.ResourceNameImageStreamImages)
	if err != nil {
		return nil, err
	}
	contents, err := s.contents(stream)
	if err != nil {
		return nil, err
	}
	digest, err := reference.MatchID(id, slices.Collect(maps.Keys(contents.Images)))
	if err != nil {
		return nil, apierrors.NewConflict(resource(imagev1.ResourceNameImageStreamImages).GroupResource(), name, err)
	}
	if digest == "" {
		return nil, notFound(imagev1.ResourceNameImageStreamImages, name)
	}
	image, err := s.image(digest)
	if err != nil {
		return nil, err
	}
	image.DockerImageManifest, image.DockerImageConfig = "", ""
	return &imagev1.ImageStreamImage{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: image.CreationTimestamp, Annotations: maps.Clone(stream.Annotations)},
		Image:      *image,
	}, nil
}

// contents is everything in the history of a stream and below it.
func (s *store) contents(stream *imagev1.ImageStream) (*imagev1.ImageStreamLayers, error) {
	result := &imagev1.ImageStreamLayers{
		ObjectMeta: *stream.ObjectMeta.DeepCopy(),
		Blobs:      map[string]imagev1.ImageLayerData{},
		Images:     map[string]imagev1.ImageBlobReferences{},
	}
	for _, list := range stream.Status.Tags {
		for _, event := range list.Items {
			if event.Image == "" {
				continue
			}
			if err := s.add(result, event.Image, s.isLocal(stream, event.DockerImageReference), event.Created.Time); err != nil {
				return nil, err
			}
		}
	}
	return result, nil
}

// isLocal tells whether a reference names the stream's own repository.
func (s *store) isLocal(stream *imagev1.ImageStream, pullSpec string) bool {
	rest, found := strings.CutPrefix(pullSpec, s.repository(stream.Namespace, stream.Name))
	return found && (rest == "" || rest[0] == '@' || rest[0] == ':')
}

// add describes an image and what is below it. A child is local through its
// index if its bytes are here and came no later than the index.
func (s *store) add(result *imagev1.ImageStreamLayers, digest string, local bool, since time.Time) error {
	if known, found := result.Images[digest]; found && (known.Local || !local) {
		return nil
	}
	image, err := s.image(digest)
	if apierrors.IsNotFound(err) {
		result.Images[digest] = imagev1.ImageBlobReferences{ImageMissing: true, Local: local}
		return nil
	}
	if err != nil {
		return err
	}
	describe(result, image, local)
	for _, child := range image.DockerImageManifests {
		below, err := s.image(child.Digest)
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		proven := err == nil && below.Annotations[imagev1.ManagedByAlaudaAnnotation] == "true" && !below.CreationTimestamp.After(since)
		if err := s.add(result, child.Digest, local && proven, since); err != nil {
			return err
		}
	}
	return nil
}

func describe(result *imagev1.ImageStreamLayers, image *imagev1.Image, local bool) {
	mediaType := image.DockerImageManifestMediaType
	if mediaType == "" {
		mediaType = dockerManifest
	}
	entry := imagev1.ImageBlobReferences{Local: local, Layers: []string{}}
	for _, layer := range image.DockerImageLayers {
		size := layer.LayerSize
		entry.Layers = append(entry.Layers, layer.Name)
		result.Blobs[layer.Name] = imagev1.ImageLayerData{LayerSize: &size, MediaType: layer.MediaType}
	}
	for _, child := range image.DockerImageManifests {
		entry.Manifests = append(entry.Manifests, child.Digest)
	}
	configType := map[string]string{ociManifest: ociConfig, dockerManifest: dockerConfig}[mediaType]
	if id := configOf(image); id != "" && configType != "" {
		entry.Config = &id
		result.Blobs[id] = imagev1.ImageLayerData{MediaType: configType}
	}
	result.Images[image.Name] = entry
	result.Blobs[image.Name] = imagev1.ImageLayerData{MediaType: mediaType}
}

// configOf is the digest of the config, empty when the metadata do not say it.
func configOf(image *imagev1.Image) string {
	var metadata struct {
		ID string `json:"Id"`
	}
	if err := json.Unmarshal(image.DockerImageMetadata.Raw, &metadata); err != nil {
		return ""
	}
	if err := reference.ValidateDigest(metadata.ID); err != nil {
		return ""
	}
	return metadata.ID
}
