package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// +genclient
// +genclient:nonNamespaced
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// Image is what is known about one manifest: an image for one platform, an
// index of images, or an artifact. Its name is the digest of the manifest.
type Image struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata. The name is "sha256:<hex>".
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// dockerImageReference is the pull spec of this image.
	// +optional
	DockerImageReference string `json:"dockerImageReference,omitempty"`
	// dockerImageMetadata describes the image, in the form of a DockerImage
	// object.
	// +patchStrategy=replace
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	DockerImageMetadata runtime.RawExtension `json:"dockerImageMetadata,omitempty" patchStrategy:"replace"`
	// dockerImageMetadataVersion is the version of dockerImageMetadata; empty
	// means "1.0".
	// +optional
	DockerImageMetadataVersion string `json:"dockerImageMetadataVersion,omitempty"`
	// dockerImageManifest is the raw manifest. It is dropped when the blob
	// store holds the manifest.
	// +optional
	DockerImageManifest string `json:"dockerImageManifest,omitempty"`
	// dockerImageLayers are the layers, base layer first. An index has none.
	// +listType=atomic
	// +optional
	DockerImageLayers []ImageLayer `json:"dockerImageLayers,omitempty"`
	// signatures are the signatures of the image.
	// +patchMergeKey=name
	// +patchStrategy=merge
	// +listType=atomic
	// +optional
	Signatures []ImageSignature `json:"signatures,omitempty" patchStrategy:"merge" patchMergeKey:"name"`
	// dockerImageSignatures are signatures embedded in a schema 1 manifest.
	// +listType=atomic
	// +optional
	DockerImageSignatures [][]byte `json:"dockerImageSignatures,omitempty"`
	// dockerImageManifestMediaType is the media type of the manifest.
	// +optional
	DockerImageManifestMediaType string `json:"dockerImageManifestMediaType,omitempty"`
	// dockerImageConfig is the raw image config. It is dropped when the blob
	// store holds it, and never set for an index.
	// +optional
	DockerImageConfig string `json:"dockerImageConfig,omitempty"`
	// dockerImageManifests are the children of an index.
	// +listType=atomic
	// +optional
	DockerImageManifests []ImageManifest `json:"dockerImageManifests,omitempty"`
}

// ImageManifest is one child of an index.
type ImageManifest struct {
	// digest identifies the manifest.
	Digest string `json:"digest"`
	// mediaType is the media type of the manifest.
	MediaType string `json:"mediaType"`
	// manifestSize is the size of the manifest itself in bytes.
	ManifestSize int64 `json:"manifestSize"`
	// architecture is the processor architecture, "unknown" if not given.
	Architecture string `json:"architecture"`
	// os is the operating system, "unknown" if not given.
	OS string `json:"os"`
	// variant is the variant of the architecture, as "v7".
	// +optional
	Variant string `json:"variant,omitempty"`
}

// ImageLayer is one layer of an image.
type ImageLayer struct {
	// name is the digest of the layer.
	Name string `json:"name"`
	// size is the size of the layer in bytes.
	LayerSize int64 `json:"size"`
	// mediaType is the media type of the layer.
	MediaType string `json:"mediaType"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageList is a list of images.
type ImageList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	// items are the images.
	Items []Image `json:"items"`
}

// SignatureConditionType names a condition of a signature.
type SignatureConditionType string

const (
	// SignatureTrusted: the signature was verified against a trusted key.
	SignatureTrusted SignatureConditionType = "Trusted"
	// SignatureForImage: the signature is about the image it is attached to.
	SignatureForImage SignatureConditionType = "ForImage"
	// SignatureExpired: the signature is not valid any more.
	SignatureExpired SignatureConditionType = "Expired"
	// SignatureRevoked: the key of the signature was revoked.
	SignatureRevoked SignatureConditionType = "Revoked"
)

// +genclient
// +genclient:nonNamespaced
// +genclient:onlyVerbs=create,delete
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageSignature is a signature of an image, named "<image>@<signature>".
type ImageSignature struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// type is the format of the signature, as "AtomicImageV1".
	Type string `json:"type"`
	// content is the signature blob.
	Content []byte `json:"content"`
	// conditions are the results of verification.
	// +patchMergeKey=type
	// +patchStrategy=merge
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []SignatureCondition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`

	// imageIdentity is the reference that the signer claims to have signed.
	// +optional
	ImageIdentity string `json:"imageIdentity,omitempty"`
	// signedClaims are the claims inside the signature.
	// +optional
	SignedClaims map[string]string `json:"signedClaims,omitempty"`
	// created is the time of signing.
	// +optional
	Created *metav1.Time `json:"created,omitempty"`
	// issuedBy names the issuer of the signing key.
	// +optional
	IssuedBy *SignatureIssuer `json:"issuedBy,omitempty"`
	// issuedTo names the holder of the signing key.
	// +optional
	IssuedTo *SignatureSubject `json:"issuedTo,omitempty"`
}

// SignatureCondition is one result of verifying a signature.
type SignatureCondition struct {
	// type is Trusted, ForImage, Expired or Revoked.
	Type SignatureConditionType `json:"type"`
	// status is True, False or Unknown.
	Status corev1.ConditionStatus `json:"status"`
	// lastProbeTime is the time of the last check.
	// +optional
	LastProbeTime metav1.Time `json:"lastProbeTime,omitempty"`
	// lastTransitionTime is the time of the last change of status.
	// +optional
	LastTransitionTime metav1.Time `json:"lastTransitionTime,omitempty"`
	// reason is a CamelCase word for the cause.
	// +optional
	Reason string `json:"reason,omitempty"`
	// message explains the status to people.
	// +optional
	Message string `json:"message,omitempty"`
}

// SignatureGenericEntity is a person or an organization.
type SignatureGenericEntity struct {
	// organization is the name of the organization.
	// +optional
	Organization string `json:"organization,omitempty"`
	// commonName is the common name.
	// +optional
	CommonName string `json:"commonName,omitempty"`
}

// SignatureIssuer is the issuer of a signing key.
type SignatureIssuer struct {
	SignatureGenericEntity `json:",inline"`
}

// SignatureSubject is the holder of a signing key.
type SignatureSubject struct {
	SignatureGenericEntity `json:",inline"`
	// publicKeyID identifies the public key.
	PublicKeyID string `json:"publicKeyID"`
}
