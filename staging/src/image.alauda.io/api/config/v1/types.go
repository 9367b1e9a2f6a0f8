package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Names of the configuration file's kind.
const (
	GroupName  = "config.image.alauda.io"
	Version    = "v1"
	APIVersion = GroupName + "/" + Version
	Kind       = "ImageAPIServerConfig"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ImageAPIServerConfig configures image-api-server. Every field can change while
// the server runs.
type ImageAPIServerConfig struct {
	metav1.TypeMeta `json:",inline"`

	// InternalRegistryHostname is the registry's host and port in the cluster.
	InternalRegistryHostname string `json:"internalRegistryHostname,omitempty"`
	// ExternalRegistryHostnames are the registry's hosts outside the cluster.
	// The first makes publicDockerImageRepository.
	ExternalRegistryHostnames []string `json:"externalRegistryHostnames,omitempty"`
	// ImageStreams configures streams.
	ImageStreams ImageStreamsConfig `json:"imageStreams,omitempty"`
	// ImageImport configures the import of images.
	ImageImport ImageImportConfig `json:"imageImport,omitempty"`
	// ImageLookup configures the resolution of short image names.
	ImageLookup ImageLookupConfig `json:"imageLookup,omitempty"`
}

// ImageStreamsConfig configures streams.
type ImageStreamsConfig struct {
	// MaxTagHistory is the number of events kept per tag; 0 means all.
	MaxTagHistory int32 `json:"maxTagHistory,omitempty"`
}

// ImageImportConfig configures the import of images.
type ImageImportConfig struct {
	// AllowedRegistriesForImport may be imported from; empty means all.
	AllowedRegistriesForImport []RegistryLocation `json:"allowedRegistriesForImport,omitempty"`
	// BlockedRegistries are never contacted.
	BlockedRegistries []string `json:"blockedRegistries,omitempty"`
	// InsecureRegistries are contacted without verified TLS.
	InsecureRegistries []string `json:"insecureRegistries,omitempty"`
	// Mirrors are tried before the registries they mirror.
	Mirrors []RegistryMirrors `json:"mirrors,omitempty"`
	// CredentialsSecret is a Secret of the server's namespace with credentials
	// for every import.
	CredentialsSecret string `json:"credentialsSecret,omitempty"`
	// MaxTagsPerRepository is the number of tags that a repository import
	// imports; -1 means all, up to the server's own limit.
	MaxTagsPerRepository *int32 `json:"maxTagsPerRepository,omitempty"`
	// DefaultImportMode is Legacy or PreserveOriginal.
	DefaultImportMode string `json:"defaultImportMode,omitempty"`
	// DeniedCIDRs are addresses that an import never connects to. An explicit
	// empty list denies nothing.
	DeniedCIDRs []string `json:"deniedCIDRs"`
	// AllowedHosts, each host or host:port, are exempt from DeniedCIDRs.
	AllowedHosts []string `json:"allowedHosts,omitempty"`
	// RateLimits limits requests to each registry.
	RateLimits RateLimits `json:"rateLimits,omitempty"`
	// Workers is the number of images imported at a time.
	Workers int32 `json:"workers,omitempty"`
	// Scheduled configures imports that repeat.
	Scheduled ScheduledImportConfig `json:"scheduled,omitempty"`
}

// RegistryLocation is a registry that images may be imported from.
type RegistryLocation struct {
	// DomainName is host or host:port, with wildcards * and ?.
	DomainName string `json:"domainName"`
	// Insecure does without verified TLS.
	Insecure bool `json:"insecure,omitempty"`
}

// MirrorSourcePolicy says whether the source of mirrors may be contacted.
type MirrorSourcePolicy string

const (
	AllowContactingSource MirrorSourcePolicy = "AllowContactingSource"
	NeverContactSource    MirrorSourcePolicy = "NeverContactSource"
)

// MirrorApplyTo says which references use mirrors.
type MirrorApplyTo string

const (
	MirrorDigests MirrorApplyTo = "Digests"
	MirrorTags    MirrorApplyTo = "Tags"
	MirrorAll     MirrorApplyTo = "All"
)

// RegistryMirrors are the mirrors of one registry or repository.
type RegistryMirrors struct {
	// Source is a host, or a host with a path.
	Source string `json:"source"`
	// Mirrors are tried in order.
	Mirrors []string `json:"mirrors,omitempty"`
	// Insecure contacts the mirrors without verified TLS.
	Insecure bool `json:"insecure,omitempty"`
	// MirrorSourcePolicy defaults to AllowContactingSource.
	MirrorSourcePolicy MirrorSourcePolicy `json:"mirrorSourcePolicy,omitempty"`
	// ApplyTo defaults to All.
	ApplyTo MirrorApplyTo `json:"applyTo,omitempty"`
}

// RateLimits limits requests per registry host.
type RateLimits struct {
	// Default holds for hosts without an entry.
	Default RateLimit `json:"default,omitempty"`
	// Hosts holds single hosts.
	Hosts map[string]RateLimit `json:"hosts,omitempty"`
}

// RateLimit is a token bucket.
type RateLimit struct {
	// QPS is the number of requests per second in the long run.
	QPS float32 `json:"qps,omitempty"`
	// Burst is the number of requests at once.
	Burst int32 `json:"burst,omitempty"`
}

// ScheduledImportConfig configures imports that repeat.
type ScheduledImportConfig struct {
	// Disabled stops them.
	Disabled bool `json:"disabled,omitempty"`
	// MinimumInterval is the time between two imports of one tag.
	MinimumInterval metav1.Duration `json:"minimumInterval,omitempty"`
	// MaxImportsPerMinute limits all of them together.
	MaxImportsPerMinute int32 `json:"maxImportsPerMinute,omitempty"`
}

// ImageLookupConfig configures the resolution of short image names.
type ImageLookupConfig struct {
	// Enabled is true unless it is set to false.
	Enabled *bool `json:"enabled,omitempty"`
}
