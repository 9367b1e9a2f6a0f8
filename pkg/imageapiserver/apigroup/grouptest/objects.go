package grouptest

import (
	"crypto/sha256"
	"encoding/hex"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// Digest is a digest made from a word.
func Digest(word string) string {
	sum := sha256.Sum256([]byte(word))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Stream is a stream without tags.
func Stream(namespace, name string, tags ...imageapi.TagReference) *imageapi.ImageStream {
	stream := &imageapi.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	for _, tag := range tags {
		if stream.Spec.Tags == nil {
			stream.Spec.Tags = map[string]imageapi.TagReference{}
		}
		stream.Spec.Tags[tag.Name] = tag
	}
	return stream
}

// Tag is a spec tag with a source, "" for none.
func Tag(name, kind, namespace, from string) imageapi.TagReference {
	tag := imageapi.TagReference{
		Name:            name,
		ReferencePolicy: imageapi.TagReferencePolicy{Type: imageapi.SourceTagReferencePolicy},
		ImportPolicy:    imageapi.TagImportPolicy{ImportMode: imageapi.ImportModePreserveOriginal},
	}
	if kind != "" {
		tag.From = &corev1.ObjectReference{Kind: kind, Namespace: namespace, Name: from}
	}
	return tag
}

// Pushed is an image as the registry sends it on a push into a repository.
func Pushed(namespace, stream, word string) *imageapi.Image {
	image := &imageapi.Image{
		ObjectMeta: metav1.ObjectMeta{
			Name:        Digest(word),
			Annotations: map[string]string{imagev1.ManagedByAlaudaAnnotation: "true", imagev1.ImageManifestBlobStoredAnnotation: "true"},
		},
		DockerImageReference:         Internal + "/" + namespace + "/" + stream + "@" + Digest(word),
		DockerImageMetadataVersion:   "1.0",
		DockerImageManifestMediaType: "application/vnd.oci.image.manifest.v1+json",
		DockerImageLayers: []imageapi.ImageLayer{
			{Name: Digest(word + " layer"), LayerSize: 10, MediaType: "application/vnd.oci.image.layer.v1.tar+gzip"},
		},
	}
	image.DockerImageMetadata.ID = Digest(word + " config")
	image.DockerImageMetadata.Size = 12
	return image
}

// PushedIndex is an index with children, as the registry sends it.
func PushedIndex(namespace, stream, word string, children ...string) *imageapi.Image {
	image := Pushed(namespace, stream, word)
	image.DockerImageManifestMediaType = "application/vnd.oci.image.index.v1+json"
	image.DockerImageLayers = nil
	image.DockerImageMetadata.ID = image.Name
	for _, child := range children {
		image.DockerImageManifests = append(image.DockerImageManifests, imageapi.ImageManifest{
			Digest: Digest(child), MediaType: "application/vnd.oci.image.manifest.v1+json", ManifestSize: 7, Architecture: "amd64", OS: "linux",
		})
	}
	return image
}
