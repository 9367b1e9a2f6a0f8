package image

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageStreamLayers tells the registry which blobs and manifests a repository
// may serve.
type ImageStreamLayers struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	// Blobs are layers, configs and manifests by digest.
	Blobs map[string]ImageLayerData
	// Images are the manifests by digest.
	Images map[string]ImageBlobReferences
}

// ImageLayerData describes one blob.
type ImageLayerData struct {
	// LayerSize is the size in bytes, nil when not known.
	LayerSize *int64
	// MediaType of the blob.
	MediaType string
}

// ImageBlobReferences are the blobs that one manifest names.
type ImageBlobReferences struct {
	// ImageMissing is set when the Image object does not exist.
	ImageMissing bool
	// Local is set when the content entered this very repository.
	Local bool
	// Layers are digests, base layer first.
	Layers []string
	// Config is the digest of the image config.
	Config *string
	// Manifests are the digests of the children of an index.
	Manifests []string
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageStreamTagList is a list of ImageStreamTags.
type ImageStreamTagList struct {
	metav1.TypeMeta
	metav1.ListMeta

	Items []ImageStreamTag
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageStreamTag is one tag of a stream with the image it points at. It is
// computed from both and not stored.
type ImageStreamTag struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	// Tag is the spec tag, nil when the tag was only pushed.
	Tag *TagReference
	// Generation is the generation of the current event.
	Generation int64
	// LookupPolicy is that of the stream.
	LookupPolicy ImageLookupPolicy
	// Conditions are those of the tag.
	Conditions []TagEventCondition
	// Image is the current image.
	Image Image
	// History are the older digests of the tag, newest first. It is shown in
	// tables only and has no field on the wire.
	History []string
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageStreamImage is an image seen through a stream that contains it.
type ImageStreamImage struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	Image Image
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageStreamMapping asks to record an image under a tag of a stream.
type ImageStreamMapping struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	// Image is what is recorded.
	Image Image
	// Tag is the tag that shall point at it.
	Tag string
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// SecretList are the pull secrets that a stream may use.
type SecretList struct {
	metav1.TypeMeta
	metav1.ListMeta

	Items []corev1.Secret
}
