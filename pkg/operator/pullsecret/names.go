package pullsecret

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
)

// Labels and annotations that people and other parts may rely on.
const (
	// ManagedLabel marks the Secrets of this package; without it a Secret is foreign.
	ManagedLabel = imageregistryv1.ManagedPullSecretLabel
	// IgnoreLabel on a Namespace takes it out of scope when "true".
	IgnoreLabel = imageregistryv1.IgnoreLabel
	// InjectAnnotation on a ServiceAccount takes it out of scope when "false".
	InjectAnnotation = imageregistryv1.InjectPullSecretAnnotation

	accountAnnotation   = imageregistryv1.ServiceAccountNameAnnotation
	expiresAnnotation   = imageregistryv1.TokenExpiresAtAnnotation
	refreshAnnotation   = imageregistryv1.TokenRefreshAtAnnotation
	hostsHashAnnotation = imageregistryv1.HostsHashAnnotation
	keyIDAnnotation     = imageregistryv1.TokenKeyIDAnnotation
	dataHashAnnotation  = imageregistryv1.DataHashAnnotation

	// accountKind is the kind of the owner of every Secret here.
	accountKind = "ServiceAccount"

	fieldManager    = imageregistryv1.OperatorName
	registryService = imageregistryv1.RegistryName
)

const (
	nameSuffix    = imageregistryv1.PullSecretSuffix
	maxNameLength = 253
	// shortenedPrefix is how much of a long account name stays in the name of its Secret.
	shortenedPrefix = 230
)

// SecretName is the name of the Secret of a ServiceAccount, always the same, at most 253 characters.
func SecretName(account string) string {
	if name := account + nameSuffix; len(name) <= maxNameLength {
		return name
	}
	sum := sha256.Sum256([]byte(account))
	// After a dot a name goes on with a letter or a digit.
	return strings.TrimRight(account[:shortenedPrefix], ".") + "-" + hex.EncodeToString(sum[:4]) + nameSuffix
}

// commonLabels are carried by every Secret of this package.
func commonLabels() map[string]string {
	return map[string]string{
		ManagedLabel:                   "true",
		imageregistryv1.LabelName:      "image-registry-pull-secret",
		imageregistryv1.LabelComponent: "pull-secret",
		imageregistryv1.LabelPartOf:    imageregistryv1.PartOf,
		imageregistryv1.LabelManagedBy: fieldManager,
	}
}

func sha256Hex(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
