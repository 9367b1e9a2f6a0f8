package roots

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"image.alauda.io/registry/pkg/pruner/references"
)

// ConfigKey is the key of the ConfigMap under which the configuration stands.
const ConfigKey = "config.yaml"

// Config is the configuration that administrators add in a ConfigMap.
type Config struct {
	// Whitelist are RE2 expressions on "namespace/name" of streams to be left alone.
	Whitelist []string `json:"whitelist,omitempty"`
	// RegistryHosts are further names of this registry.
	RegistryHosts []string `json:"registryHosts,omitempty"`
	// DisablePresets are groups of the table of known kinds that are not read.
	DisablePresets []string `json:"disablePresets,omitempty"`
	// Roots are further kinds that use images.
	Roots []Root `json:"roots,omitempty"`

	whitelist []*regexp.Regexp
}

// Root names a kind that uses images.
type Root struct {
	Group string `json:"group,omitempty"`
	// Version; empty means the preferred one.
	Version  string `json:"version,omitempty"`
	Resource string `json:"resource"`
	// Paths are JSONPath expressions as kubectl takes them; empty means that every string is looked at.
	Paths         []string `json:"paths,omitempty"`
	Namespaces    []string `json:"namespaces,omitempty"`
	LabelSelector string   `json:"labelSelector,omitempty"`
	// Required, the default: a run that cannot list the objects does not go on.
	Required *bool `json:"required,omitempty"`

	paths []*references.Path
}

// Whitelisted are the compiled expressions of the whitelist.
func (c *Config) Whitelisted() []*regexp.Regexp { return c.whitelist }

// ParseConfig reads config.yaml. Unknown fields and everything that could not have been meant are errors:
// a root that is misspelled would protect nothing.
func ParseConfig(text []byte) (*Config, error) {
	config := &Config{}
	if !oneDocument(string(text)) {
		return nil, fmt.Errorf("%s: it holds several YAML documents, of which only the first would be read; put everything into one", ConfigKey)
	}
	if err := yaml.UnmarshalStrict(text, config); err != nil {
		return nil, fmt.Errorf("%s: %w", ConfigKey, err)
	}
	for i, expression := range config.Whitelist {
		compiled, err := regexp.Compile(expression)
		if err != nil {
			return nil, fmt.Errorf("%s: whitelist[%d]: %w", ConfigKey, i, err)
		}
		config.whitelist = append(config.whitelist, compiled)
	}
	for i, host := range config.RegistryHosts {
		if host == "" || strings.ContainsAny(host, "/ \t\n@") {
			return nil, fmt.Errorf("%s: registryHosts[%d]: %q is not a host, or a host with a port", ConfigKey, i, host)
		}
	}
	for i, group := range config.DisablePresets {
		if !isPresetGroup(group) {
			return nil, fmt.Errorf("%s: disablePresets[%d]: there is no preset for group %q", ConfigKey, i, group)
		}
	}
	for i := range config.Roots {
		if err := config.Roots[i].validate(); err != nil {
			return nil, fmt.Errorf("%s: roots[%d]: %w", ConfigKey, i, err)
		}
		for _, other := range config.Roots[:i] {
			if same := other.Group == config.Roots[i].Group && other.Resource == config.Roots[i].Resource; same &&
				(other.Version != config.Roots[i].Version || other.isRequired() != config.Roots[i].isRequired()) {
				return nil, fmt.Errorf("%s: roots[%d]: %s stands there twice with another version or another \"required\"", ConfigKey, i, nameOf(other.Group, other.Resource))
			}
		}
	}
	return config, nil
}

// mark stands before and after YAML documents.
var mark = regexp.MustCompile(`(?m)^(---|\.\.\.)([ \t\r]|$)`)

// oneDocument: nothing follows the first document. The parser would be silent about it.
func oneDocument(text string) bool {
	parts := mark.Split(text, -1)
	if len(parts) > 1 && (isBlank(parts[0]) || strings.HasPrefix(parts[0], "%")) {
		parts = parts[1:]
	}
	return !slices.ContainsFunc(parts[1:], func(part string) bool { return !isBlank(part) })
}

// isBlank: nothing but comments.
func isBlank(text string) bool {
	var content any
	return yaml.Unmarshal([]byte(text), &content) == nil && content == nil
}

func (r *Root) validate() error {
	if r.Group != "" && len(validation.IsDNS1123Subdomain(r.Group)) > 0 {
		return fmt.Errorf("group: %q is not the name of an API group", r.Group)
	}
	if r.Version != "" && len(validation.IsDNS1035Label(r.Version)) > 0 {
		return fmt.Errorf("version: %q is not a version", r.Version)
	}
	if len(validation.IsDNS1035Label(r.Resource)) > 0 {
		return fmt.Errorf("resource: %q is not the name of a resource, as widgets", r.Resource)
	}
	if slices.Contains(own, r.Group) || isBuiltIn(r.Group, r.Resource) {
		return fmt.Errorf("%s is read anyway", nameOf(r.Group, r.Resource))
	}
	for _, namespace := range r.Namespaces {
		if len(validation.IsDNS1123Label(namespace)) > 0 {
			return fmt.Errorf("namespaces: %q is not the name of a namespace", namespace)
		}
	}
	if _, err := labels.Parse(r.LabelSelector); err != nil {
		return fmt.Errorf("labelSelector: %w", err)
	}
	r.paths = nil
	for _, text := range r.Paths {
		path, err := references.ParsePath(text)
		if err != nil {
			return fmt.Errorf("paths: %w", err)
		}
		r.paths = append(r.paths, path)
	}
	return nil
}

func (r *Root) isRequired() bool { return r.Required == nil || *r.Required }

func (r *Root) selection() Selection {
	return Selection{Namespaces: r.Namespaces, LabelSelector: r.LabelSelector, Paths: r.paths}
}

// ValidateExclusion checks what names a kind or a group to be left out.
func ValidateExclusion(text string) error {
	if len(validation.IsDNS1123Subdomain(text)) > 0 || !strings.Contains(text, ".") {
		return fmt.Errorf("%q is neither an API group nor resource.group, as widgets.example.com", text)
	}
	if resource, group, _ := strings.Cut(text, "."); isBuiltIn(group, resource) {
		return errors.New(text + " is built in and always read")
	}
	return nil
}
