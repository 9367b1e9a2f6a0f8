package v1

// Names of the operator and of the objects that it owns.
const (
	// OperatorName is the operator's Deployment, ServiceAccount, Service,
	// Lease, field manager, managed-by label and event reporter.
	OperatorName = "cluster-image-registry-operator"
	// DefaultNamespace is the operand namespace when POD_NAMESPACE is unset.
	DefaultNamespace = "image-registry-system"
	// SingletonName is the only name a Config or an ImagePruner can have.
	SingletonName = "cluster"
	// Prefix starts every annotation, label and finalizer of the operator.
	Prefix = "imageregistry.operator.alauda.io/"
	// Finalizer keeps a Config until its operands are removed.
	Finalizer = Prefix + "finalizer"
	// DefaultClusterDomain is used when the cluster's domain is unknown.
	DefaultClusterDomain = "cluster.local"
	// RegistryPort is the port of the registry, HTTPS only.
	RegistryPort = 5000
	// InternalRegistryHost is the host and port inside the cluster.
	InternalRegistryHost = "image-registry.image-registry-system.svc:5000"
	// DefaultRouteName is the Ingress that spec.defaultRoute asks for.
	DefaultRouteName = "default-route"
	// ManagedClaimName is the volume claim that the operator creates.
	ManagedClaimName = "image-registry-storage"
	// PullersRoleBindingName lets the accounts of a namespace pull its images.
	PullersRoleBindingName = "system:image-pullers"
)

// Workloads, by the value of their app.kubernetes.io/name label.
const (
	RegistryName      = "image-registry"
	ImageAPIName      = "image-api-server"
	NodeCAName        = "node-ca"
	PrunerName        = "image-pruner"
	RegistryContainer = "registry"
	PrunerAccountName = "pruner"
)

// Labels of every owned object.
const (
	LabelName      = "app.kubernetes.io/name"
	LabelComponent = "app.kubernetes.io/component"
	LabelPartOf    = "app.kubernetes.io/part-of"
	LabelManagedBy = "app.kubernetes.io/managed-by"
	// PartOf is the value of LabelPartOf.
	PartOf = "image-registry"
)

// Annotations and labels that the operator sets.
const (
	// OwnedAnnotation ("true") marks objects with names that users could also
	// choose. Without it the operator never touches such an object.
	OwnedAnnotation = Prefix + "owned"
	// DependenciesChecksumAnnotation is the hash over what a Pod reads at start.
	DependenciesChecksumAnnotation = Prefix + "dependencies-checksum"
	// StorageTestedAnnotation (on the Deployment of the registry) identifies the object store and the
	// credentials that were tested before they were rolled out.
	StorageTestedAnnotation = Prefix + "storage-tested"
	// StorageIdentityAnnotation (on the Deployment of the registry) names the place of the blobs that it was
	// rolled out with.
	StorageIdentityAnnotation = Prefix + "storage-identity"
	// ImageStorageAnnotation (on the Deployment of the image API server) names the place of the image metadata
	// that it was rolled out with.
	ImageStorageAnnotation = Prefix + "image-storage"
	// VersionAnnotation is the version of a workload.
	VersionAnnotation = Prefix + "version"
	// ManagedPullSecretLabel ("true") marks pull secrets of ServiceAccounts.
	ManagedPullSecretLabel = Prefix + "managed-pull-secret"
	// ServiceAccountNameAnnotation names the account of a pull secret.
	ServiceAccountNameAnnotation = Prefix + "service-account.name"
	// TokenExpiresAtAnnotation (RFC 3339 UTC) is when a pull secret ends.
	TokenExpiresAtAnnotation = Prefix + "token-expires-at"
	// TokenRefreshAtAnnotation (RFC 3339 UTC) is when it will be renewed.
	TokenRefreshAtAnnotation = Prefix + "token-refresh-at"
	// HostsHashAnnotation is the hash of a pull secret's hosts and audience.
	HostsHashAnnotation = Prefix + "hosts-hash"
	// TokenKeyIDAnnotation identifies the key that signed the token.
	TokenKeyIDAnnotation = Prefix + "token-key-id"
	// DataHashAnnotation is the hash of a pull secret's data.
	DataHashAnnotation = Prefix + "data-hash"
)

// Annotations and labels that people set.
const (
	// RotateCAAnnotation (on Config): a new value rotates the CA once.
	RotateCAAnnotation = Prefix + "rotate-ca"
	// RotateServingAnnotation (on Config): a new value rotates the serving
	// certificates once.
	RotateServingAnnotation = Prefix + "rotate-serving"
	// NetworkPolicyAnnotation ("false", on Config): no NetworkPolicies.
	NetworkPolicyAnnotation = Prefix + "network-policy"
	// StorageLockAnnotation ("true", on Config): storage is neither changed nor
	// removed.
	StorageLockAnnotation = Prefix + "storage-lock"
	// AllowImageStorageChangeAnnotation ("CRD" or "Etcd", on Config): the image
	// metadata may move there.
	AllowImageStorageChangeAnnotation = Prefix + "allow-image-storage-change"
	// BlockGCAnnotation ("true", on Config): no garbage collection.
	BlockGCAnnotation = Prefix + "block-gc"
	// AutoupdateAnnotation ("false", on ClusterRole): the role is left alone.
	AutoupdateAnnotation = Prefix + "autoupdate"
	// IgnoreLabel ("true", on Namespace): no pull secrets.
	IgnoreLabel = Prefix + "ignore"
	// InjectPullSecretAnnotation ("false", on ServiceAccount): no pull secret.
	InjectPullSecretAnnotation = Prefix + "inject-pull-secret"
)

// Secrets and ConfigMaps in the operand namespace.
const (
	SecretServingCA         = "image-registry-serving-ca"
	SecretRegistryTLS       = "image-registry-tls"
	SecretImageAPITLS       = "image-api-server-serving-cert"
	SecretOperatorTLS       = "image-registry-operator-tls"
	SecretPrivateConfig     = "image-registry-private-configuration"
	SecretPrivateConfigUser = "image-registry-private-configuration-user"
	SecretInstallationPull  = "installation-pull-secrets"
	ConfigMapServiceCA      = "serviceca"
	ConfigMapTrustedCA      = "trusted-ca"
	ConfigMapCertificates   = "image-registry-certificates"
	ConfigMapNodeCAConfig   = "node-ca-config"
	ConfigMapImageAPIConfig = "image-api-server-config"
	ConfigMapPublic         = "image-registry-public"
	ConfigMapPrunerConfig   = "image-pruner-config"
	KeyServiceCA            = "service-ca.crt"
	KeyTrustedCA            = "ca-bundle.crt"
	KeyStorageCABundle      = "storage-ca-bundle.pem"
	KeyNodeCAConfig         = "config.json"
	KeyImageAPIConfig       = "config.yaml"
	KeyHTTPSecret           = "REGISTRY_HTTP_SECRET"
	ImageAPIWebhookService  = "image-api-server-webhook"
	IngressTLSSecretSuffix  = "-ingress-tls"
	PullSecretSuffix        = "-registry-pull"
)

// Defaults that the operator applies. Those of the schema are repeated here for
// readers of objects that did not pass the API server.
const (
	DefaultReplicas               = 1
	DefaultImageAPIReplicas       = 2
	DefaultPVCSize                = "100Gi"
	DefaultTokenExpirationSeconds = 86400
	DefaultTokenAudience          = "image-registry.alauda.io"
	DefaultPruneSchedule          = "0 0 * * *"
	DefaultKeepTagRevisions       = 3
	DefaultKeepYoungerThan        = "60m"
	DefaultJobsHistoryLimit       = 3
	DefaultStartingDeadline       = 3600
	DefaultS3ChunkSizeMiB         = 10
	DefaultS3Region               = "us-east-1"
)
