package image

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image.alauda.io/api/image/docker10"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageList is a list of Images.
type ImageList struct {
	metav1.TypeMeta
	metav1.ListMeta

	Items []Image
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// Image is what is known about one manifest: an image, an index or an
// artifact. Its name is the digest of the manifest.
type Image struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	// DockerImageReference is the pull spec under which the image was recorded.
	DockerImageReference string
	// DockerImageMetadata describes the image. It is not a pointer: an image
	// without metadata has the zero value.
	DockerImageMetadata docker10.DockerImage
	// DockerImageMetadataVersion is the version of DockerImageMetadata, "1.0".
	DockerImageMetadataVersion string
	// DockerImageManifest is the raw manifest. Not kept when the registry
	// stores the manifest as a blob.
	DockerImageManifest string
	// DockerImageLayers are the layers, base layer first. Empty for an index.
	DockerImageLayers []ImageLayer
	// Signatures are stored with the image.
	Signatures []ImageSignature
	// DockerImageSignatures are signatures of Docker schema 1 manifests.
	DockerImageSignatures [][]byte
	// DockerImageManifestMediaType is the media type of the manifest.
	DockerImageManifestMediaType string
	// DockerImageConfig is the raw image config. Treated like the manifest.
	DockerImageConfig string
	// DockerImageManifests are the children of an index.
	DockerImageManifests []ImageManifest
}

// ImageManifest is one child of an index.
type ImageManifest struct {
	// Digest names the child manifest.
	Digest string
	// MediaType of the child manifest.
	MediaType string
	// ManifestSize is the size of the child manifest in bytes.
	ManifestSize int64
	// Architecture the child is built for, "unknown" when not told.
	Architecture string
	// OS the child is built for, "unknown" when not told.
	OS string
	// Variant of the architecture, for example "v7".
	Variant string
}

// ImageLayer is one layer of an image.
type ImageLayer struct {
	// Name is the digest of the layer.
	Name string
	// LayerSize is the size of the layer blob in bytes.
	LayerSize int64
	// MediaType of the layer blob.
	MediaType string
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageSignature is a signature stored with an image.
type ImageSignature struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	// Type is the format of Content, for example "AtomicImageV1".
	Type string
	// Content is the signature as the client sent it.
	Content []byte
	// Conditions are what a verifier found.
	Conditions []SignatureCondition
	// ImageIdentity is the pull spec that was signed.
	ImageIdentity string
	// SignedClaims are further statements of the signature.
	SignedClaims map[string]string
	// Created is the time of the signature, when it tells one.
	Created *metav1.Time
	// IssuedBy tells who issued the signing certificate or key.
	IssuedBy *SignatureIssuer
	// IssuedTo tells who holds the signing certificate or key.
	IssuedTo *SignatureSubject
}

// SignatureConditionType names a condition of a signature.
type SignatureConditionType string

// Conditions of a signature.
const (
	SignatureTrusted  SignatureConditionType = "Trusted"
	SignatureForImage SignatureConditionType = "ForImage"
	SignatureExpired  SignatureConditionType = "Expired"
	SignatureRevoked  SignatureConditionType = "Revoked"
)

// SignatureCondition is a finding of a verifier about a signature.
type SignatureCondition struct {
	Type               SignatureConditionType
	Status             corev1.ConditionStatus
	LastProbeTime      metav1.Time
	LastTransitionTime metav1.Time
	Reason             string
	Message            string
}

// SignatureGenericEntity is a person or organisation named by a signature.
type SignatureGenericEntity struct {
	Organization string
	CommonName   string
}

// SignatureIssuer is the issuer of a signing certificate or key.
type SignatureIssuer struct {
	SignatureGenericEntity
}

// SignatureSubject is the holder of a signing certificate or key.
type SignatureSubject struct {
	SignatureGenericEntity
	// PublicKeyID identifies the public key.
	PublicKeyID string
}
