package image

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DefaultTag is the tag meant when none is given.
const DefaultTag = "latest"

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageStreamList is a list of ImageStreams.
type ImageStreamList struct {
	metav1.TypeMeta
	metav1.ListMeta

	Items []ImageStream
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageStream is one repository: what its tags shall be (spec) and what they
// are and were (status).
type ImageStream struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	Spec   ImageStreamSpec
	Status ImageStreamStatus
}

// ImageStreamSpec is what the user asks for.
type ImageStreamSpec struct {
	// LookupPolicy says who may use short names of this stream.
	LookupPolicy ImageLookupPolicy
	// DockerImageRepository is an external repository whose tags are imported.
	DockerImageRepository string
	// Tags are the wanted tags by name.
	Tags map[string]TagReference
}

// ImageLookupPolicy says who may resolve short image names to a stream.
type ImageLookupPolicy struct {
	// Local lets Pods of the namespace use the stream's short name.
	Local bool
}

// TagReference is where a tag comes from.
type TagReference struct {
	// Name of the tag; equal to its key in the map.
	Name string
	// Annotations are copied to tag and image objects read through the stream.
	Annotations map[string]string
	// From is the source; nil when the tag is filled by pushes only.
	From *corev1.ObjectReference
	// Reference keeps the tag a pointer to From, without an import.
	Reference bool
	// Generation is the generation of the stream in which the tag was last
	// changed. A client that sets 0 asks for a new import.
	Generation *int64
	// ImportPolicy says how the source is imported.
	ImportPolicy TagImportPolicy
	// ReferencePolicy says which pull spec readers of the tag get.
	ReferencePolicy TagReferencePolicy
}

// ImportModeType says what is imported of an index.
type ImportModeType string

// Import modes.
const (
	ImportModePreserveOriginal ImportModeType = "PreserveOriginal"
	ImportModeLegacy           ImportModeType = "Legacy"
)

// TagImportPolicy says how a tag is imported.
type TagImportPolicy struct {
	// Insecure allows plain HTTP and unverified TLS.
	Insecure bool
	// Scheduled repeats the import.
	Scheduled bool
	// ImportMode says what is imported of an index.
	ImportMode ImportModeType
}

// TagReferencePolicyType says which pull spec readers of a tag get.
type TagReferencePolicyType string

// Reference policies.
const (
	SourceTagReferencePolicy TagReferencePolicyType = "Source"
	LocalTagReferencePolicy  TagReferencePolicyType = "Local"
)

// TagReferencePolicy says which pull spec readers of a tag get.
type TagReferencePolicy struct {
	Type TagReferencePolicyType
}

// ImageStreamStatus is what the stream is.
type ImageStreamStatus struct {
	// DockerImageRepository is where the stream is served inside the cluster.
	DockerImageRepository string
	// PublicDockerImageRepository is where it is served to the outside.
	PublicDockerImageRepository string
	// Tags are the histories by tag name.
	Tags map[string]TagEventList
}

// TagEventList is the history of one tag.
type TagEventList struct {
	// Items are the events, newest first.
	Items []TagEvent
	// Conditions tell about the last import.
	Conditions []TagEventCondition
}

// TagEvent is one state that a tag had.
type TagEvent struct {
	// Created is when the event was recorded.
	Created metav1.Time
	// DockerImageReference is the pull spec.
	DockerImageReference string
	// Image is the digest; empty for a reference tag.
	Image string
	// Generation is the generation of the spec tag that led to the event.
	Generation int64
}

// TagEventConditionType names a condition of a tag.
type TagEventConditionType string

// ImportSuccess tells whether the last import of a tag worked.
const ImportSuccess TagEventConditionType = "ImportSuccess"

// TagEventCondition tells about the last import of a tag.
type TagEventCondition struct {
	Type               TagEventConditionType
	Status             corev1.ConditionStatus
	LastTransitionTime metav1.Time
	Reason             string
	Message            string
	Generation         int64
}
