package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +genclient
// +genclient:method=Secrets,verb=get,subresource=secrets,result=image.alauda.io/api/image/v1.SecretList
// +genclient:method=Layers,verb=get,subresource=layers,result=image.alauda.io/api/image/v1.ImageStreamLayers
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageStream is a repository of this registry, or a local name for a
// repository elsewhere: tags, and what each tag pointed to over time.
type ImageStream struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the wanted state of the stream.
	// +optional
	Spec ImageStreamSpec `json:"spec"`
	// status is the observed state of the stream.
	// +optional
	Status ImageStreamStatus `json:"status,omitempty"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageStreamList is a list of image streams.
type ImageStreamList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	// items are the image streams.
	Items []ImageStream `json:"items"`
}

// ImageStreamSpec is what people want of a stream.
type ImageStreamSpec struct {
	// lookupPolicy says whether short image names of workloads in this
	// namespace resolve to this stream.
	// +optional
	LookupPolicy ImageLookupPolicy `json:"lookupPolicy,omitempty"`
	// dockerImageRepository is a repository elsewhere whose tags are imported.
	// It names no tag and no digest. Deprecated: name the tags instead.
	// +optional
	DockerImageRepository string `json:"dockerImageRepository,omitempty"`
	// tags are the wanted tags.
	// +patchMergeKey=name
	// +patchStrategy=merge
	// +listType=map
	// +listMapKey=name
	// +optional
	Tags []TagReference `json:"tags,omitempty" patchStrategy:"merge" patchMergeKey:"name"`
}

// ImageLookupPolicy says who may use the short name of a stream.
type ImageLookupPolicy struct {
	// local resolves short image names in the stream's namespace to the stream.
	Local bool `json:"local"`
}

// TagReference is one wanted tag of a stream.
type TagReference struct {
	// name is the tag.
	Name string `json:"name"`
	// annotations describe the tag.
	// +optional
	Annotations map[string]string `json:"annotations"`
	// from is where the tag comes from: a DockerImage, an ImageStreamTag or an
	// ImageStreamImage. Without it, pushes alone move the tag.
	// +optional
	From *corev1.ObjectReference `json:"from,omitempty"`
	// reference keeps the pull spec without importing the image.
	// +optional
	Reference bool `json:"reference,omitempty"`
	// generation is the generation of the stream that last changed this tag.
	// Setting 0 asks for a new import. Users cannot set any other value.
	// +optional
	Generation *int64 `json:"generation"`
	// importPolicy says how the image is imported.
	// +optional
	ImportPolicy TagImportPolicy `json:"importPolicy,omitempty"`
	// referencePolicy says which pull spec other resources get.
	// +optional
	ReferencePolicy TagReferencePolicy `json:"referencePolicy,omitempty"`
}

// ImportModeType says what is imported of an index.
type ImportModeType string

const (
	// ImportModeLegacy imports one child of an index.
	ImportModeLegacy ImportModeType = "Legacy"
	// ImportModePreserveOriginal imports the index with all its children.
	ImportModePreserveOriginal ImportModeType = "PreserveOriginal"
)

// TagImportPolicy says how an image is imported.
type TagImportPolicy struct {
	// insecure does without verified TLS.
	// +optional
	Insecure bool `json:"insecure,omitempty"`
	// scheduled imports the tag again from time to time.
	// +optional
	Scheduled bool `json:"scheduled,omitempty"`
	// importMode is Legacy or PreserveOriginal.
	// +optional
	ImportMode ImportModeType `json:"importMode,omitempty"`
}

// TagReferencePolicyType says which pull spec a tag gives away.
type TagReferencePolicyType string

const (
	// SourceTagReferencePolicy gives the pull spec of the source.
	SourceTagReferencePolicy TagReferencePolicyType = "Source"
	// LocalTagReferencePolicy gives a pull spec of this registry.
	LocalTagReferencePolicy TagReferencePolicyType = "Local"
)

// TagReferencePolicy says which pull spec other resources get for a tag.
type TagReferencePolicy struct {
	// type is Source or Local.
	Type TagReferencePolicyType `json:"type"`
}

// ImageStreamStatus is what was observed of a stream.
type ImageStreamStatus struct {
	// dockerImageRepository is the repository under which the cluster pulls.
	DockerImageRepository string `json:"dockerImageRepository"`
	// publicDockerImageRepository is the repository under which clients outside
	// the cluster pull.
	// +optional
	PublicDockerImageRepository string `json:"publicDockerImageRepository,omitempty"`
	// tags is the history of each tag.
	// +patchMergeKey=tag
	// +patchStrategy=merge
	// +listType=map
	// +listMapKey=tag
	// +optional
	Tags []NamedTagEventList `json:"tags,omitempty" patchStrategy:"merge" patchMergeKey:"tag"`
}

// NamedTagEventList is the history of one tag.
type NamedTagEventList struct {
	// tag is the tag.
	Tag string `json:"tag"`
	// items are the events, newest first.
	// +listType=atomic
	Items []TagEvent `json:"items"`
	// conditions say what happened to the tag outside its history.
	// +patchMergeKey=type
	// +patchStrategy=merge
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []TagEventCondition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`
}

// TagEvent is one image that a tag pointed to.
type TagEvent struct {
	// created is the time of the event.
	Created metav1.Time `json:"created"`
	// dockerImageReference is the pull spec.
	DockerImageReference string `json:"dockerImageReference"`
	// image is the digest. Empty for a tag that only keeps a reference.
	Image string `json:"image"`
	// generation is the generation of the spec tag that led to this event.
	Generation int64 `json:"generation"`
}

// TagEventConditionType names a condition of a tag.
type TagEventConditionType string

const (
	// ImportSuccess is False when the last import of a tag failed.
	ImportSuccess TagEventConditionType = "ImportSuccess"
)

// TagEventCondition is what happened to a tag outside its history.
type TagEventCondition struct {
	// type is ImportSuccess.
	Type TagEventConditionType `json:"type"`
	// status is True, False or Unknown.
	Status corev1.ConditionStatus `json:"status"`
	// lastTransitionTime is the time of the last change of status.
	// +optional
	LastTransitionTime metav1.Time `json:"lastTransitionTime,omitempty"`
	// reason is a CamelCase word for the cause.
	// +optional
	Reason string `json:"reason,omitempty"`
	// message explains the status to people.
	// +optional
	Message string `json:"message,omitempty"`
	// generation is the generation of the spec tag that this is about.
	Generation int64 `json:"generation"`
}
