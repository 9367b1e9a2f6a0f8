package certificates

import (
	"time"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
)

// Names of the objects that this package writes, all in the operand namespace.
const (
	// CASecretName is the Secret with the signers: active, next and retired.
	CASecretName = imageregistryv1.SecretServingCA
	// RegistrySecretName, APIServerSecretName and OperatorSecretName are the serving certificates.
	RegistrySecretName  = imageregistryv1.SecretRegistryTLS
	APIServerSecretName = imageregistryv1.SecretImageAPITLS
	OperatorSecretName  = imageregistryv1.SecretOperatorTLS
	// BundleConfigMapName and BundleKey are where the trust bundle is published.
	BundleConfigMapName = imageregistryv1.ConfigMapServiceCA
	BundleKey           = imageregistryv1.KeyServiceCA
)

const (
	registryService  = imageregistryv1.RegistryName
	apiServerService = imageregistryv1.ImageAPIName
	webhookService   = imageregistryv1.ImageAPIWebhookService
	operatorService  = imageregistryv1.OperatorName

	fieldManager = imageregistryv1.OperatorName
)

const (
	ownedAnnotation    = imageregistryv1.OwnedAnnotation
	rotateCAAnnotation = imageregistryv1.RotateCAAnnotation
	rotateLeaf         = imageregistryv1.RotateServingAnnotation
	// promoteAnnotation and previousAnnotation keep the times of a rotation on the CA Secret.
	promoteAnnotation  = imageregistryv1.Prefix + "promote-after"
	previousAnnotation = imageregistryv1.Prefix + "previous-until"
	// sinceAnnotation keeps on the ConfigMap of the bundle since when each certificate is in it.
	sinceAnnotation     = imageregistryv1.Prefix + "published-since"
	componentLabelValue = "certificates"
)

// Keys of the CA Secret and of the serving Secrets.
const (
	certKey     = "tls.crt"
	privateKey  = "tls.key"
	leafCAKey   = "ca.crt"
	nextCertKey = "next.crt"
	nextKeyKey  = "next.key"
	previousKey = "previous.crt"
)

const (
	// settleTime is how long running clients may take to learn of a signer: a kubelet brings it into Pods within
	// about 90 seconds, agents and servers read it within another minute.
	settleTime = 5 * time.Minute
	// maxRetired bounds the bundle against an administrator, or his program, who rotates without end.
	maxRetired = 32
	// mostRetired is how many are believed of a Secret that others wrote: more than there can ever be of ours.
	mostRetired = 2 * maxRetired
	// maxForeignData and maxForeignAnnotations bound what others may keep in a Secret of the operator: with more
	// there would be no room for the next certificate. In bytes.
	maxForeignData, maxForeignAnnotations = 256 << 10, 64 << 10
	// checkInterval bounds the time to the next check.
	checkInterval = time.Hour
	// expiryWarning is when a supplied certificate, which is never renewed here, is warned about.
	expiryWarning = 14 * 24 * time.Hour
)

// labels are the common labels of every object of this package.
func labels(name string) map[string]string {
	return map[string]string{
		imageregistryv1.LabelName:      name,
		imageregistryv1.LabelComponent: componentLabelValue,
		imageregistryv1.LabelPartOf:    imageregistryv1.PartOf,
		imageregistryv1.LabelManagedBy: fieldManager,
	}
}
