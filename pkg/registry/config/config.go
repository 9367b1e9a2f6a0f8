// Package config reads the configuration of the registry.
//
// In come a YAML file and the environment: variables `REGISTRY_<SECTION>_…` overlay
// the sections of the storage engine, `REGISTRY_ALAUDA_…` the project's own section
// `alauda`. Out comes a Config with every default filled in and every value checked,
// or an error that names the key. Keys that are unknown or without effect become
// warnings.
//
// The defaults are the embedded defaults.yml; the file shipped in the image repeats
// them together with a storage. Nothing here opens a file named in the configuration
// or talks to a network.
package config

import (
	_ "embed" // defaults.yml
	"errors"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"go.yaml.in/yaml/v2"
)

//go:embed defaults.yml
var defaults []byte

const (
	envPrefix = "registry"
	// PathVariable names the configuration file when there is no argument.
	PathVariable = "REGISTRY_CONFIGURATION_PATH"
	// DefaultPath is the configuration file of the image.
	DefaultPath = "/etc/image-registry/config.yml"

	alaudaVersion = "1.0"
)

// Config is the configuration of the storage engine and the section of the project.
type Config struct {
	configuration.Configuration `yaml:",inline"`

	Alauda Alauda `yaml:"alauda"`
}

// Alauda is the project's own section.
type Alauda struct {
	Version     string      `yaml:"version"`
	Kubeconfig  string      `yaml:"kubeconfig"`
	AllowNoAuth bool        `yaml:"allownoauth"`
	KubeClient  KubeClient  `yaml:"kubeclient"`
	Server      Server      `yaml:"server"`
	Auth        Auth        `yaml:"auth"`
	Audit       Audit       `yaml:"audit"`
	Metrics     Metrics     `yaml:"metrics"`
	Requests    Requests    `yaml:"requests"`
	Quota       Quota       `yaml:"quota"`
	Cache       Cache       `yaml:"cache"`
	PullThrough PullThrough `yaml:"pullthrough"`
	Manifests   Manifests   `yaml:"manifests"`
	GC          GC          `yaml:"gc"`
	HTTP        HTTP        `yaml:"http"`
}

// KubeClient limits the requests to the Kubernetes API, in requests per second.
type KubeClient struct {
	QPS   float32 `yaml:"qps"`
	Burst int     `yaml:"burst"`
	// Timeout ends a call of the image API that nobody answers.
	Timeout time.Duration `yaml:"timeout"`
}

// Server says under which names this registry is reached.
type Server struct {
	// Addr is the prefix of every reference to a pushed image. Mandatory.
	Addr            string   `yaml:"addr"`
	AdditionalHosts []string `yaml:"additionalhosts"`
}

// Auth is how requests are authenticated and authorized.
type Auth struct {
	Realm         string    `yaml:"realm"`
	Service       string    `yaml:"service"`
	TokenRealm    string    `yaml:"tokenrealm"`
	Anonymous     bool      `yaml:"anonymous"`
	Audience      string    `yaml:"audience"`
	RequireCreate bool      `yaml:"requirecreate"`
	Cache         AuthCache `yaml:"cache"`
	OIDC          OIDC      `yaml:"oidc"`
}

// OIDC is an identity provider whose tokens are accepted beside those of the API server.
// An empty IssuerURL means none.
type OIDC struct {
	IssuerURL      string            `yaml:"issuerurl"`
	ClientID       string            `yaml:"clientid"`
	CAFile         string            `yaml:"cafile"`
	UsernameClaim  string            `yaml:"usernameclaim"`
	UsernamePrefix string            `yaml:"usernameprefix"`
	GroupsClaim    string            `yaml:"groupsclaim"`
	GroupsPrefix   string            `yaml:"groupsprefix"`
	SigningAlgs    []string          `yaml:"signingalgs"`
	RequiredClaims map[string]string `yaml:"requiredclaims"`
}

// AuthCache holds the lifetimes of review results. Zero disables a cache.
type AuthCache struct {
	TokenTTL        time.Duration `yaml:"tokenttl"`
	TokenFailureTTL time.Duration `yaml:"tokenfailurettl"`
	AllowTTL        time.Duration `yaml:"allowttl"`
	DenyTTL         time.Duration `yaml:"denyttl"`
}

// Audit is the audit log.
type Audit struct {
	Enabled bool   `yaml:"enabled"`
	Path    string `yaml:"path"`
}

// Metrics is the metrics end point.
type Metrics struct {
	Enabled bool   `yaml:"enabled"`
	Secret  string `yaml:"secret"`
}

// Requests limits the requests that are served at the same time.
type Requests struct {
	Read  Limit `yaml:"read"`
	Write Limit `yaml:"write"`
}

// Limit is one class of requests. MaxRunning 0 means no limit, MaxWaitInQueue 0 no
// end of waiting.
type Limit struct {
	MaxRunning     int           `yaml:"maxrunning"`
	MaxInQueue     int           `yaml:"maxinqueue"`
	MaxWaitInQueue time.Duration `yaml:"maxwaitinqueue"`
}

// Quota switches the checks that the registry makes before the API server does.
type Quota struct {
	Enabled  bool          `yaml:"enabled"`
	CacheTTL time.Duration `yaml:"cachettl"`
}

// Cache is the digest cache.
type Cache struct {
	Disabled          bool          `yaml:"disabled"`
	BlobRepositoryTTL time.Duration `yaml:"blobrepositoryttl"`
}

// PullThrough is how images of other registries are fetched for clients.
type PullThrough struct {
	// Mirror keeps what was fetched.
	Mirror bool `yaml:"mirror"`
	// Mirrors are asked before the registries that they mirror.
	Mirrors []MirrorRule `yaml:"mirrors"`
	// DockerConfigPaths are files with credentials of the whole cluster.
	DockerConfigPaths []string `yaml:"dockerconfigpaths"`
	// CADirs hold certificate authorities, each in a file named after its registry.
	CADirs []string `yaml:"cadirs"`
	// DeniedCIDRs are networks that are never contacted, but for AllowedHosts.
	DeniedCIDRs  []string `yaml:"deniedcidrs"`
	AllowedHosts []string `yaml:"allowedhosts"`
}

// MirrorRule has the form of a rule in the configuration of image-api-server, from which
// the operator copies it.
type MirrorRule struct {
	Source             string   `yaml:"source"`
	Mirrors            []string `yaml:"mirrors"`
	Insecure           bool     `yaml:"insecure"`
	MirrorSourcePolicy string   `yaml:"mirrorSourcePolicy"`
	// ApplyTo has no effect: pull-through always asks by digest.
	ApplyTo string `yaml:"applyTo"`
}

// Manifests limits manifests. MaxSize is in bytes.
type Manifests struct {
	MaxSize int64 `yaml:"maxsize"`
}

// GC is the online collector.
type GC struct {
	MinAge      time.Duration `yaml:"minage"`
	VerifyDelay time.Duration `yaml:"verifydelay"`
	Workers     int           `yaml:"workers"`
}

// HTTP adds to the stock section http.
type HTTP struct {
	// IOTimeout ends a transfer without progress.
	IOTimeout time.Duration `yaml:"iotimeout"`
	// ShutdownDelay is how long a terminating server still takes requests.
	ShutdownDelay time.Duration `yaml:"shutdowndelay"`
}

// Path returns the configuration file: the argument, else the environment variable,
// else the default.
func Path(argument string) string {
	if argument != "" {
		return argument
	}
	if path := os.Getenv(PathVariable); path != "" {
		return path
	}
	return DefaultPath
}

// Load reads a configuration file. The second result are warnings.
func Load(path string) (*Config, []string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration: %w", err)
	}
	config, warnings, err := Parse(raw)
	if err != nil {
		return nil, warnings, fmt.Errorf("configuration %s: %w", path, err)
	}
	return config, warnings, nil
}

// Parse reads a configuration and the environment of the process.
func Parse(raw []byte) (*Config, []string, error) {
	warnings := unknownKeys(raw)
	complete, err := withDefaults(raw)
	if err != nil {
		return nil, nil, err
	}
	defer literalVariables()()
	parser := configuration.NewParser(envPrefix, []configuration.VersionedParseInfo{{
		Version:        configuration.MajorMinorVersion(0, 1),
		ParseAs:        reflect.TypeFor[Config](),
		ConversionFunc: func(parsed any) (any, error) { return parsed, nil },
	}})
	config := &Config{}
	if err := parser.Parse(complete, config); err != nil {
		return nil, nil, err
	}
	if err := config.applyNested(); err != nil {
		return nil, nil, err
	}
	if err := config.Validate(); err != nil {
		return nil, nil, err
	}
	return config, append(warnings, config.ignored()...), nil
}

// unknownKeys reports keys of the file that nothing reads.
func unknownKeys(raw []byte) []string {
	var typeError *yaml.TypeError
	if err := yaml.UnmarshalStrict(raw, &Config{}); !errors.As(err, &typeError) {
		return nil
	}
	var warnings []string
	for _, text := range typeError.Errors {
		if strings.Contains(text, "not found in type") {
			warnings = append(warnings, "unknown configuration key: "+text)
		}
	}
	sort.Strings(warnings)
	return warnings
}

// withDefaults puts the file over the defaults, map by map.
func withDefaults(raw []byte) ([]byte, error) {
	var base, file map[any]any
	if err := yaml.Unmarshal(defaults, &base); err != nil {
		return nil, fmt.Errorf("defaults: %w", err)
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		return nil, err
	}
	overlay(base, file)
	if version, ok := file["version"]; ok {
		base["version"] = version
	}
	return yaml.Marshal(base)
}

func overlay(base, over map[any]any) {
	for key, value := range over {
		below, isMap := base[key].(map[any]any)
		above, overMap := value.(map[any]any)
		if isMap && overMap {
			overlay(below, above)
			continue
		}
		if value != nil {
			base[key] = value
		}
	}
}
