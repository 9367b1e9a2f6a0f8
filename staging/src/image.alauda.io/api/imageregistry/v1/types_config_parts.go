package v1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// AdmissionMode says whether pull secrets are also injected by an admission
// policy.
// +kubebuilder:validation:Enum=Auto;Disabled
type AdmissionMode string

const (
	// AdmissionAuto uses the policy where the cluster serves it.
	AdmissionAuto AdmissionMode = "Auto"
	// AdmissionDisabled never uses it.
	AdmissionDisabled AdmissionMode = "Disabled"
)

// ImagePullSecretSpec describes the pull secrets of ServiceAccounts.
type ImagePullSecretSpec struct {
	// managementState says whether pull secrets are made (Managed), left as they
	// are (Unmanaged), or taken away (Removed).
	// +kubebuilder:validation:Enum=Managed;Unmanaged;Removed
	// +kubebuilder:default=Managed
	// +optional
	ManagementState ManagementState `json:"managementState,omitempty"`
	// additionalRegistryHosts are further hosts, each host or host:port, for
	// which the same credentials are stored.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=259
	// +kubebuilder:validation:items:Pattern=`^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]{1,5})?$`
	// +listType=set
	// +optional
	AdditionalRegistryHosts []string `json:"additionalRegistryHosts,omitempty"`
	// ignoredNamespaces are exact names of namespaces that get no pull secrets.
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +listType=set
	// +optional
	IgnoredNamespaces []string `json:"ignoredNamespaces,omitempty"`
	// ignoreSystemNamespaces gives no pull secrets to kube-*, cpaas-system, olm, operators and the registry's own namespace.
	// +kubebuilder:default=true
	// +optional
	IgnoreSystemNamespaces *bool `json:"ignoreSystemNamespaces,omitempty"`
	// tokenExpirationSeconds is the life of tokens that is asked for, in seconds, at least 600; a day by default. They are renewed long before.
	// +kubebuilder:default=86400
	// +kubebuilder:validation:Minimum=600
	// +kubebuilder:validation:Maximum=315360000
	// +optional
	TokenExpirationSeconds *int64 `json:"tokenExpirationSeconds,omitempty"`
	// tokenAudience is the audience of the tokens. An empty string asks for
	// tokens of the API server's own audience, which can do more than pull.
	// +kubebuilder:default="image-registry.alauda.io"
	// +kubebuilder:validation:MaxLength=253
	// +optional
	TokenAudience *string `json:"tokenAudience,omitempty"`
	// grantNamespacePull lets all ServiceAccounts of a namespace pull the images
	// of that namespace.
	// +kubebuilder:default=true
	// +optional
	GrantNamespacePull *bool `json:"grantNamespacePull,omitempty"`
	// admission says whether an admission policy injects pull secrets into Pods
	// that are created before their ServiceAccount has one.
	// +kubebuilder:default=Auto
	// +optional
	Admission AdmissionMode `json:"admission,omitempty"`
}

// ImageStorageType says where image metadata is kept.
// +kubebuilder:validation:Enum=CRD;Etcd
type ImageStorageType string

const (
	// ImageStorageCRD: in custom resources of this cluster.
	ImageStorageCRD ImageStorageType = "CRD"
	// ImageStorageEtcd: in a separate etcd.
	ImageStorageEtcd ImageStorageType = "Etcd"
)

// ImageAPISpec describes the image API server.
type ImageAPISpec struct {
	// replicas of the image API server, 1 to 100; 2 by default.
	// +kubebuilder:default=2
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	// +optional
	Replicas *int32 `json:"replicas,omitempty"`
	// resources of the container; replaces the default as a whole.
	// +structType=atomic
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
	// nodeSelector of the Pods.
	// +optional
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// tolerations of the Pods.
	// +listType=atomic
	// +optional
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// storage says where image metadata is kept.
	// +kubebuilder:default={}
	// +optional
	Storage ImageStorageSpec `json:"storage,omitempty"`
	// allowedRegistriesForImport are the registries that images may be imported
	// from; empty means all.
	// +listType=atomic
	// +optional
	AllowedRegistriesForImport []RegistryLocation `json:"allowedRegistriesForImport,omitempty"`
	// importMode is the import mode of tags that name none.
	// +kubebuilder:validation:Enum=Legacy;PreserveOriginal
	// +kubebuilder:default=PreserveOriginal
	// +optional
	ImportMode string `json:"importMode,omitempty"`
	// imageLookup resolves short image names of workloads to image streams of
	// their namespace.
	// +kubebuilder:default=true
	// +optional
	ImageLookup *bool `json:"imageLookup,omitempty"`
	// config is merged over the server's configuration file, for settings that
	// have no field here.
	// +kubebuilder:validation:Type=object
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	Config *runtime.RawExtension `json:"config,omitempty"`
}

// ImageStorageSpec says where image metadata is kept.
// +kubebuilder:validation:XValidation:rule="!has(self.etcd) || (has(self.type) && self.type == 'Etcd')",message="etcd is used with type Etcd only; set the type, or leave etcd out (null in a merge patch)"
type ImageStorageSpec struct {
	// type is CRD or Etcd.
	// +kubebuilder:default=CRD
	// +optional
	Type ImageStorageType `json:"type,omitempty"`
	// etcd is the etcd to use with type Etcd.
	// +optional
	Etcd *EtcdSpec `json:"etcd,omitempty"`
}

// EtcdSpec names an etcd.
type EtcdSpec struct {
	// endpoints are the https URLs of the members.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=2048
	// +optional
	Endpoints []string `json:"endpoints,omitempty"`
	// secretName is a Secret in the operand namespace with the client's
	// certificate.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	// +optional
	SecretName string `json:"secretName,omitempty"`
	// prefix is put before every key, so that others can share the etcd.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Prefix string `json:"prefix,omitempty"`
}

// RegistryLocation is a registry that images may be imported from.
type RegistryLocation struct {
	// domainName is host or host:port, with wildcards * and ?.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=259
	// +required
	DomainName string `json:"domainName"`
	// insecure does without verified TLS.
	// +optional
	Insecure bool `json:"insecure,omitempty"`
}
