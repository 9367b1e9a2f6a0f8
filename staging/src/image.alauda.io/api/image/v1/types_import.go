package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +genclient
// +genclient:onlyVerbs=create
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageStreamImport is a request that looks up images elsewhere and, if asked,
// records them in the stream of the same name.
type ImageStreamImport struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says what to import.
	Spec ImageStreamImportSpec `json:"spec"`
	// status is what was found.
	// +optional
	Status ImageStreamImportStatus `json:"status"`
}

// ImageStreamImportSpec says what to import.
type ImageStreamImportSpec struct {
	// import records the result in the stream. If false, the request only
	// looks.
	Import bool `json:"import"`
	// repository imports the tags of a whole repository.
	// +optional
	Repository *RepositoryImportSpec `json:"repository,omitempty"`
	// images are single images to import.
	// +listType=atomic
	// +optional
	Images []ImageImportSpec `json:"images,omitempty"`
}

// ImageStreamImportStatus is the result of an import.
type ImageStreamImportStatus struct {
	// import is the stream after the import, if it was recorded.
	// +optional
	Import *ImageStream `json:"import,omitempty"`
	// repository is the result for the repository.
	// +optional
	Repository *RepositoryImportStatus `json:"repository,omitempty"`
	// images are the results for the single images, in the order of the
	// request.
	// +listType=atomic
	// +optional
	Images []ImageImportStatus `json:"images,omitempty"`
}

// RepositoryImportSpec asks for the tags of a repository.
type RepositoryImportSpec struct {
	// from is the repository; kind DockerImage.
	From corev1.ObjectReference `json:"from"`
	// importPolicy says how the images are imported.
	// +optional
	ImportPolicy TagImportPolicy `json:"importPolicy,omitempty"`
	// referencePolicy says which pull spec other resources get.
	// +optional
	ReferencePolicy TagReferencePolicy `json:"referencePolicy,omitempty"`
	// includeManifest puts the raw manifests into the result.
	// +optional
	IncludeManifest bool `json:"includeManifest,omitempty"`
}

// RepositoryImportStatus is the result for a repository.
type RepositoryImportStatus struct {
	// status says whether the tags could be listed.
	// +optional
	Status metav1.Status `json:"status,omitempty"`
	// images are the results for the tags.
	// +listType=atomic
	// +optional
	Images []ImageImportStatus `json:"images,omitempty"`
	// additionalTags are tags of the repository that were not imported.
	// +listType=atomic
	// +optional
	AdditionalTags []string `json:"additionalTags,omitempty"`
}

// ImageImportSpec asks for one image.
type ImageImportSpec struct {
	// from is the image; kind DockerImage.
	From corev1.ObjectReference `json:"from"`
	// to is the tag of the stream; by default the tag that from names.
	// +optional
	To *corev1.LocalObjectReference `json:"to,omitempty"`
	// importPolicy says how the image is imported.
	// +optional
	ImportPolicy TagImportPolicy `json:"importPolicy,omitempty"`
	// referencePolicy says which pull spec other resources get.
	// +optional
	ReferencePolicy TagReferencePolicy `json:"referencePolicy,omitempty"`
	// includeManifest puts the raw manifest into the result.
	// +optional
	IncludeManifest bool `json:"includeManifest,omitempty"`
}

// ImageImportStatus is the result for one image: either image or an error in
// status.
type ImageImportStatus struct {
	// status says whether the image was found.
	Status metav1.Status `json:"status"`
	// image is the image, if it was found.
	// +optional
	Image *Image `json:"image,omitempty"`
	// tag is the tag under which the image was found.
	// +optional
	Tag string `json:"tag,omitempty"`
	// manifests are the children of an index.
	// +listType=atomic
	// +optional
	Manifests []Image `json:"manifests,omitempty"`
}
