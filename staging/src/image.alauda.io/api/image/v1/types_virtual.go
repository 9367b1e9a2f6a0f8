package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +genclient
// +genclient:skipVerbs=get,list,create,update,patch,delete,deleteCollection,watch,apply,applyStatus,updateStatus
// +genclient:method=Create,verb=create,result=k8s.io/apimachinery/pkg/apis/meta/v1.Status
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageStreamMapping is a request that records an image and points a tag of a
// stream to it. Its name is the name of the stream.
type ImageStreamMapping struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// image is the image to record.
	Image Image `json:"image"`
	// tag is the tag that shall point to the image.
	Tag string `json:"tag"`
}

// +genclient
// +genclient:onlyVerbs=get,list,create,update,delete,patch
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageStreamTag is one tag of a stream with its newest image, named
// "<stream>:<tag>".
type ImageStreamTag struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// tag is the wanted tag, if the stream's spec has it.
	// +optional
	Tag *TagReference `json:"tag"`
	// generation is the generation of the tag's newest event.
	// +optional
	Generation int64 `json:"generation"`
	// lookupPolicy is that of the stream.
	// +optional
	LookupPolicy ImageLookupPolicy `json:"lookupPolicy"`
	// conditions are the conditions of the tag.
	// +patchMergeKey=type
	// +patchStrategy=merge
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []TagEventCondition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`
	// image is the image of the newest event.
	// +optional
	Image Image `json:"image"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageStreamTagList is a list of image stream tags.
type ImageStreamTagList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	// items are the image stream tags.
	Items []ImageStreamTag `json:"items"`
}

// +genclient
// +genclient:onlyVerbs=get,list,create,update,delete,patch
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageTag is one tag of a stream: what is wanted and what was observed, named
// "<stream>:<tag>".
type ImageTag struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the wanted tag, if the stream's spec has it.
	// +optional
	Spec *TagReference `json:"spec"`
	// status is the history of the tag, if it has any.
	// +optional
	Status *NamedTagEventList `json:"status"`
	// image is the image of the newest event. Lists leave it out.
	// +optional
	Image *Image `json:"image"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageTagList is a list of image tags.
type ImageTagList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	// items are the image tags.
	Items []ImageTag `json:"items"`
}

// +genclient
// +genclient:onlyVerbs=get
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageStreamImage is an image that a stream contains, named "<stream>@<id>".
type ImageStreamImage struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// image is the image.
	Image Image `json:"image"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageStreamLayers says which blobs a stream's images consist of.
type ImageStreamLayers struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the metadata of the stream.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// blobs describes every blob by its digest.
	Blobs map[string]ImageLayerData `json:"blobs"`
	// images lists the blobs of every image by the image's digest.
	Images map[string]ImageBlobReferences `json:"images"`
}

// ImageBlobReferences are the blobs of one image.
type ImageBlobReferences struct {
	// imageMissing is true when the history names the image but the image
	// itself does not exist.
	// +optional
	ImageMissing bool `json:"imageMissing"`
	// local is true when the content entered the registry through a repository
	// that may share it with this one, so that it may be served here.
	// +optional
	Local bool `json:"local,omitempty"`
	// layers are the digests of the layers, base layer first.
	// +listType=atomic
	// +optional
	Layers []string `json:"layers"`
	// config is the digest of the config blob.
	// +optional
	Config *string `json:"config"`
	// manifests are the digests of an index's children.
	// +listType=atomic
	// +optional
	Manifests []string `json:"manifests,omitempty"`
}

// ImageLayerData describes one blob.
type ImageLayerData struct {
	// size is the size in bytes, if known.
	LayerSize *int64 `json:"size"`
	// mediaType is the media type of the blob.
	MediaType string `json:"mediaType"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// SecretList is a list of Secrets with registry credentials, answered by the
// secrets subresource of a stream.
type SecretList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	// items are the Secrets.
	Items []corev1.Secret `json:"items"`
}
