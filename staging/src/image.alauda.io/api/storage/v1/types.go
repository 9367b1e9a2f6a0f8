package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// RecordFormat says how a payload is encoded.
// +kubebuilder:validation:Enum=json;json+zstd
type RecordFormat string

const (
	// FormatJSON is plain JSON.
	FormatJSON RecordFormat = "json"
	// FormatJSONZstd is JSON compressed with zstd.
	FormatJSONZstd RecordFormat = "json+zstd"
)

// RecordSpec is the payload of a record. It has one owner as a whole, so that
// kube-apiserver keeps no owner for each field in memory.
// +structType=atomic
type RecordSpec struct {
	// format says how data is encoded.
	Format RecordFormat `json:"format"`
	// size is the length of the JSON in bytes, before compression.
	// +kubebuilder:validation:Minimum=0
	Size int64 `json:"size"`
	// data is the object, without its resourceVersion.
	Data []byte `json:"data"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=storedimages,singular=storedimage,scope=Cluster
// +kubebuilder:printcolumn:name="True Name",type=string,JSONPath=`.metadata.annotations.storage\.image\.alauda\.io/name`
// +kubebuilder:printcolumn:name="Size",type=integer,JSONPath=`.spec.size`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`

// StoredImage is the record of one Image.
type StoredImage struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the payload.
	Spec RecordSpec `json:"spec"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true

// StoredImageList is a list of StoredImages.
type StoredImageList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []StoredImage `json:"items"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=storedimagestreams,singular=storedimagestream,scope=Namespaced
// +kubebuilder:printcolumn:name="True Name",type=string,JSONPath=`.metadata.annotations.storage\.image\.alauda\.io/name`
// +kubebuilder:printcolumn:name="Size",type=integer,JSONPath=`.spec.size`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`

// StoredImageStream is the record of one ImageStream.
type StoredImageStream struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the payload.
	Spec RecordSpec `json:"spec"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true

// StoredImageStreamList is a list of StoredImageStreams.
type StoredImageStreamList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []StoredImageStream `json:"items"`
}
