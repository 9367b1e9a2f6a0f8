package image

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageStreamImport asks to look up images elsewhere and, if wanted, to record
// them in the stream of the same name.
type ImageStreamImport struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	Spec   ImageStreamImportSpec
	Status ImageStreamImportStatus
}

// ImageStreamImportSpec says what to import.
type ImageStreamImportSpec struct {
	// Import records the result; otherwise the request only looks.
	Import bool
	// Repository imports the tags of a whole repository.
	Repository *RepositoryImportSpec
	// Images are single images to import.
	Images []ImageImportSpec
}

// ImageStreamImportStatus is what was found.
type ImageStreamImportStatus struct {
	// Import is the stream after the import, when it was recorded.
	Import *ImageStream
	// Repository is the result for the repository.
	Repository *RepositoryImportStatus
	// Images are the results for the single images, in the order of the request.
	Images []ImageImportStatus
}

// RepositoryImportSpec asks for the tags of a repository.
type RepositoryImportSpec struct {
	// From is the repository.
	From corev1.ObjectReference
	// ImportPolicy says how the images are imported.
	ImportPolicy TagImportPolicy
	// ReferencePolicy says which pull spec readers of the tags get.
	ReferencePolicy TagReferencePolicy
	// IncludeManifest puts the raw manifests into the result.
	IncludeManifest bool
}

// RepositoryImportStatus is the result for a repository.
type RepositoryImportStatus struct {
	// Status tells whether the tags could be listed.
	Status metav1.Status
	// Images are the results for the tags.
	Images []ImageImportStatus
	// AdditionalTags were found and not imported.
	AdditionalTags []string
}

// ImageImportSpec asks for one image.
type ImageImportSpec struct {
	// From is the image.
	From corev1.ObjectReference
	// To is the tag of the stream.
	To *corev1.LocalObjectReference
	// ImportPolicy says how the image is imported.
	ImportPolicy TagImportPolicy
	// ReferencePolicy says which pull spec readers of the tag get.
	ReferencePolicy TagReferencePolicy
	// IncludeManifest puts the raw manifest into the result.
	IncludeManifest bool
}

// ImageImportStatus is the result for one image.
type ImageImportStatus struct {
	// Status tells whether the image was found.
	Status metav1.Status
	// Image is the image, when it was found.
	Image *Image
	// Tag is the tag under which it was found.
	Tag string
	// Manifests are the children of an index.
	Manifests []Image
}
