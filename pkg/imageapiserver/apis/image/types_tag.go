package image

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageTagList is a list of ImageTags.
type ImageTagList struct {
	metav1.TypeMeta
	metav1.ListMeta

	Items []ImageTag
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageTag is one tag of a stream with its source and its whole history. It is
// computed from the stream and not stored.
type ImageTag struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	// Spec is the wanted tag, nil when the tag was only pushed.
	Spec *TagReference
	// Status is the history, nil when the tag has none.
	Status *NamedTagEventList
	// Image is the current image; nil in lists and when it does not exist.
	Image *Image
}

// NamedTagEventList is the history of one tag outside the map of a stream.
type NamedTagEventList struct {
	// Tag is the name of the tag.
	Tag string
	// Items are the events, newest first.
	Items []TagEvent
	// Conditions tell about the last import.
	Conditions []TagEventCondition
}
