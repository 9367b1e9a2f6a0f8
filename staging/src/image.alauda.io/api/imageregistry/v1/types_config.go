package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// +genclient
// +genclient:nonNamespaced
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=configs,singular=config,scope=Cluster
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.spec.managementState`
// +kubebuilder:printcolumn:name="Available",type=string,JSONPath=`.status.conditions[?(@.type=="Available")].status`
// +kubebuilder:printcolumn:name="Progressing",type=string,JSONPath=`.status.conditions[?(@.type=="Progressing")].status`
// +kubebuilder:printcolumn:name="Degraded",type=string,JSONPath=`.status.conditions[?(@.type=="Degraded")].status`
// +kubebuilder:printcolumn:name="Ready",type=integer,JSONPath=`.status.readyReplicas`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name == 'cluster'",message="Config is a singleton and must be called cluster"

// Config describes the image registry of the cluster. The only instance is
// called cluster.
type Config struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the wanted state of the registry.
	// +required
	Spec ConfigSpec `json:"spec"`
	// status is the observed state of the registry.
	// +optional
	Status ConfigStatus `json:"status,omitempty"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true

// ConfigList is a list of Configs.
type ConfigList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Config `json:"items"`
}

// ConfigSpec is the wanted state of the registry.
// +kubebuilder:validation:XValidation:rule="!has(self.storage) || !has(self.storage.emptyDir) || !has(self.replicas) || self.replicas <= 1",message="replicas must be at most 1 with storage.emptyDir: each replica would have its own, different data"
type ConfigSpec struct {
	// managementState says whether the operator installs the registry
	// (Managed), leaves it as it is (Unmanaged), or takes it away (Removed). It
	// has no default, so that a replaced object without it is refused instead of
	// removing the registry.
	// +kubebuilder:validation:Enum=Managed;Unmanaged;Removed
	// +required
	ManagementState ManagementState `json:"managementState"`
	// logLevel is the log level of registry and image API server: Normal, Debug, Trace or TraceAll.
	// +kubebuilder:default=Normal
	// +optional
	LogLevel LogLevel `json:"logLevel,omitempty"`
	// operatorLogLevel is the log level of the operator, taken up without a restart.
	// +kubebuilder:default=Normal
	// +optional
	OperatorLogLevel LogLevel `json:"operatorLogLevel,omitempty"`
	// unsupportedConfigOverrides changes the registry Deployment outside of what
	// is supported: {"deployment":{"annotations":{},"runtimeClassName":""}}.
	// +nullable
	// +kubebuilder:validation:Type=object
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	UnsupportedConfigOverrides *runtime.RawExtension `json:"unsupportedConfigOverrides,omitempty"`
	// observedConfig is stored for platform controllers and not read.
	// +nullable
	// +kubebuilder:validation:Type=object
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	ObservedConfig *runtime.RawExtension `json:"observedConfig,omitempty"`
	// httpSecret signs the state of uploads. If empty, the operator makes one
	// and keeps it in a Secret.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	HTTPSecret string `json:"httpSecret,omitempty"`
	// proxy is the proxy that registry and image API server use for requests
	// that leave the cluster.
	// +optional
	Proxy ProxySpec `json:"proxy,omitempty"`
	// storage says where the registry keeps blobs.
	// +kubebuilder:default={}
	// +optional
	Storage StorageSpec `json:"storage,omitempty"`
	// readOnly makes the registry refuse pushes and deletes; pulls go on.
	// +optional
	ReadOnly bool `json:"readOnly,omitempty"`
	// disableRedirect streams blobs through the registry instead of redirecting
	// clients to the object store.
	// +optional
	DisableRedirect bool `json:"disableRedirect,omitempty"`
	// requests limits concurrent requests.
	// +kubebuilder:default={}
	// +optional
	Requests RequestsSpec `json:"requests,omitempty"`
	// defaultRoute exposes the registry by an Ingress called default-route, under a generated host; see
	// status.externalRegistryHostnames.
	// +optional
	DefaultRoute bool `json:"defaultRoute,omitempty"`
	// routes are further Ingresses of the registry.
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="self.all(a, !has(a.hostname) || a.hostname.size() == 0 || self.exists_one(b, has(b.hostname) && b.hostname == a.hostname))",message="two routes cannot share a hostname"
	// +listType=map
	// +listMapKey=name
	// +optional
	Routes []RouteSpec `json:"routes,omitempty"`
	// ingress holds defaults for all Ingresses.
	// +optional
	Ingress IngressSpec `json:"ingress,omitempty"`
	// replicas is the wanted number of registry replicas, at most 1000. A volume with a single
	// writer caps it at 1; status.replicas shows the effective number.
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	// +optional
	Replicas *int32 `json:"replicas,omitempty"`
	// logging is deprecated: it is read only while logLevel is Normal or empty.
	// +optional
	Logging int64 `json:"logging,omitempty"`
	// resources of the registry container; replaces the default as a whole.
	// +structType=atomic
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
	// nodeSelector of the registry Pods.
	// +optional
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// tolerations of the registry Pods.
	// +listType=atomic
	// +optional
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// rolloutStrategy is RollingUpdate or Recreate. Empty means Recreate on a
	// volume with a single writer, RollingUpdate otherwise.
	// +kubebuilder:validation:Pattern=`^(RollingUpdate|Recreate)?$`
	// +optional
	RolloutStrategy string `json:"rolloutStrategy,omitempty"`
	// affinity of the registry Pods; replaces the default as a whole.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`
	// topologySpreadConstraints of the registry Pods replace the default as a
	// whole; an empty list means none.
	// +listType=atomic
	// +optional
	TopologySpreadConstraints []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`
	// additionalTrustedCA names a ConfigMap in the operand namespace. Its keys
	// are host or host..port, its values PEM certificates that pull-through,
	// image import and nodes trust.
	// +optional
	AdditionalTrustedCA ConfigMapReference `json:"additionalTrustedCA,omitempty"`
	// imageAPI describes the image API server.
	// +kubebuilder:default={}
	// +optional
	ImageAPI ImageAPISpec `json:"imageAPI,omitempty"`
	// auth says how the registry recognises people.
	// +optional
	Auth AuthSpec `json:"auth,omitempty"`
	// imagePullSecret describes the pull secrets of ServiceAccounts.
	// +kubebuilder:default={}
	// +optional
	ImagePullSecret ImagePullSecretSpec `json:"imagePullSecret,omitempty"`
}

// ProxySpec is a proxy for requests that leave the cluster.
type ProxySpec struct {
	// http is the proxy for plain HTTP.
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	HTTP string `json:"http,omitempty"`
	// https is the proxy for HTTPS.
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	HTTPS string `json:"https,omitempty"`
	// noProxy lists hosts, domains and CIDRs that are reached directly, separated by commas. The cluster's own are added.
	// +kubebuilder:validation:MaxLength=32768
	// +optional
	NoProxy string `json:"noProxy,omitempty"`
}

// RequestsSpec limits concurrent requests to the registry.
// +structType=atomic
type RequestsSpec struct {
	// read limits pulls.
	// +kubebuilder:default={}
	// +optional
	Read RequestLimits `json:"read,omitempty"`
	// write limits pushes.
	// +kubebuilder:default={}
	// +optional
	Write RequestLimits `json:"write,omitempty"`
}

// RequestLimits limits one sort of requests.
type RequestLimits struct {
	// maxRunning is the number of requests at a time; 0 means without limit.
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	// +optional
	MaxRunning int32 `json:"maxRunning,omitempty"`
	// maxInQueue is the number of requests that may wait.
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	// +optional
	MaxInQueue int32 `json:"maxInQueue,omitempty"`
	// maxWaitInQueue is the time that a request may wait; 0s means without
	// limit.
	// +kubebuilder:default="0s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:Pattern=`^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s')",message="must be a duration that is not negative, as 30s or 1h30m"
	// +optional
	MaxWaitInQueue metav1.Duration `json:"maxWaitInQueue,omitempty"`
}

// RouteSpec is one Ingress of the registry.
// +kubebuilder:validation:XValidation:rule="self.name != 'default-route'",message="the name default-route is reserved for spec.defaultRoute"
type RouteSpec struct {
	// name is the name of the Ingress.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +required
	Name string `json:"name"`
	// hostname is the host of the Ingress; generated if empty.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	// +optional
	Hostname string `json:"hostname,omitempty"`
	// secretName is a TLS Secret in the operand namespace; without it the
	// operator issues a certificate.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	// +optional
	SecretName string `json:"secretName,omitempty"`
	// ingressClassName overrides ingress.className.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	// +optional
	IngressClassName string `json:"ingressClassName,omitempty"`
	// annotations override single ingress.annotations.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
}

// IngressSpec holds defaults for all Ingresses of the registry.
type IngressSpec struct {
	// className is the IngressClass of the Ingresses; the cluster's default class if empty.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	// +optional
	ClassName string `json:"className,omitempty"`
	// domain is the domain of generated host names. If empty, that of the operator's INGRESS_DOMAIN, else
	// apps.<domain of the cluster>.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	// +optional
	Domain string `json:"domain,omitempty"`
	// annotations of the Ingresses.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
	// labels of the Ingresses.
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
}

// AuthSpec says how the registry recognises people.
type AuthSpec struct {
	// oidc is an identity provider. Empty fields are taken from the platform's
	// ConfigMap kube-public/global-info, if there is one.
	// +optional
	OIDC OIDCSpec `json:"oidc,omitempty"`
}

// OIDCSpec is an OpenID Connect provider.
// +kubebuilder:validation:XValidation:rule="!has(self.issuerURL) || self.issuerURL.size() == 0 || (has(self.clientID) && self.clientID.size() > 0)",message="clientID must be set with issuerURL: without it tokens for any other service of the issuer would be accepted"
type OIDCSpec struct {
	// issuerURL is the issuer, with scheme https.
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^$|^https://[^/?#]+[^?#]*$`
	// +optional
	IssuerURL string `json:"issuerURL,omitempty"`
	// clientID is the audience (aud) that tokens must have; required with issuerURL.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^$|^[!-~]([ -~]*[!-~])?$`
	// +optional
	ClientID string `json:"clientID,omitempty"`
	// caConfigMap is a ConfigMap in the operand namespace with the issuer's CA under key ca.crt; only for a CA that
	// systems do not know.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	// +optional
	CAConfigMap string `json:"caConfigMap,omitempty"`
	// usernameClaim is the claim with the user's name.
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[^\s[:cntrl:]]*$`
	// +optional
	UsernameClaim string `json:"usernameClaim,omitempty"`
	// usernamePrefix is put before the user's name; it must not begin with system:.
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[^[:cntrl:]]*$`
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('system:')",message="must not begin with system:, because such names are Kubernetes' own, and a provider could give itself system:masters"
	// +optional
	UsernamePrefix string `json:"usernamePrefix,omitempty"`
	// groupsClaim is the claim with the user's groups.
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[^\s[:cntrl:]]*$`
	// +optional
	GroupsClaim string `json:"groupsClaim,omitempty"`
	// groupsPrefix is put before each group; it must not begin with system:.
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[^[:cntrl:]]*$`
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('system:')",message="must not begin with system:, because such names are Kubernetes' own, and a provider could give itself system:masters"
	// +optional
	GroupsPrefix string `json:"groupsPrefix,omitempty"`
}
