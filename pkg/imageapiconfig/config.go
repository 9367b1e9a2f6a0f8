// Package imageapiconfig is what counts as a configuration of the image API server (kind ImageAPIServerConfig).
//
// In: YAML or JSON. Out: the configuration with its defaults, or every invalid value with its path; unknown fields
// are refused. The server reads its file by it, and the operator holds to the same rules what it is about to
// write: a file that is refused shows only when a server starts, which may be weeks later on a node that is drained.
//
// The package reads no file and interprets nothing beyond validity.
package imageapiconfig

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	configv1 "image.alauda.io/api/config/v1"
)

// Parse decodes YAML or JSON, fills in defaults and validates.
func Parse(data []byte) (*configv1.ImageAPIServerConfig, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("it is empty, at least kind: " + configv1.Kind + " is expected")
	}
	config := &configv1.ImageAPIServerConfig{}
	if err := yaml.UnmarshalStrict(data, config); err != nil {
		return nil, err
	}
	if config.APIVersion != "" && config.APIVersion != configv1.APIVersion {
		return nil, fmt.Errorf("apiVersion: %q is not supported, want %s", config.APIVersion, configv1.APIVersion)
	}
	if config.Kind != "" && config.Kind != configv1.Kind {
		return nil, fmt.Errorf("kind: %q is not supported, want %s", config.Kind, configv1.Kind)
	}
	configv1.SetDefaults(config)
	return config, Validate(config)
}

// Validate returns every invalid value with its path.
func Validate(config *configv1.ImageAPIServerConfig) error {
	var problems []error
	refuse := func(field, format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s: "+format, append([]any{field}, args...)...))
	}
	if config.InternalRegistryHostname != "" && !isHost(config.InternalRegistryHostname) {
		refuse("internalRegistryHostname", "%q is not host or host:port", config.InternalRegistryHostname)
	}
	for i, host := range config.ExternalRegistryHostnames {
		if !isHost(host) {
			refuse(fmt.Sprintf("externalRegistryHostnames[%d]", i), "%q is not host or host:port", host)
		}
	}
	if config.ImageStreams.MaxTagHistory < 0 {
		refuse("imageStreams.maxTagHistory", "%d is negative", config.ImageStreams.MaxTagHistory)
	}
	validateImport(&config.ImageImport, refuse)
	return errors.Join(problems...)
}

func validateImport(c *configv1.ImageImportConfig, refuse func(field, format string, args ...any)) {
	if c.DefaultImportMode != "Legacy" && c.DefaultImportMode != "PreserveOriginal" {
		refuse("imageImport.defaultImportMode", "%q is neither Legacy nor PreserveOriginal", c.DefaultImportMode)
	}
	if n := *c.MaxTagsPerRepository; n < -1 || n == 0 {
		refuse("imageImport.maxTagsPerRepository", "%d is neither positive nor -1", n)
	}
	if c.Workers < 1 {
		refuse("imageImport.workers", "%d is not positive", c.Workers)
	}
	for i, cidr := range c.DeniedCIDRs {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			refuse(fmt.Sprintf("imageImport.deniedCIDRs[%d]", i), "%q is not a CIDR", cidr)
		}
	}
	for i, host := range c.AllowedHosts {
		if !isHost(host) {
			refuse(fmt.Sprintf("imageImport.allowedHosts[%d]", i), "%q is not host or host:port", host)
		}
	}
	for i, registry := range c.AllowedRegistriesForImport {
		if _, _, err := Location(registry); err != nil {
			refuse(fmt.Sprintf("imageImport.allowedRegistriesForImport[%d].domainName", i), "%v", err)
		}
	}
	for i := range c.Mirrors {
		validateMirrors(fmt.Sprintf("imageImport.mirrors[%d]", i), &c.Mirrors[i], refuse)
	}
	validateRate("imageImport.rateLimits.default", c.RateLimits.Default, refuse)
	for host, limit := range c.RateLimits.Hosts {
		validateRate("imageImport.rateLimits.hosts["+host+"]", limit, refuse)
	}
	if c.Scheduled.MinimumInterval.Duration < 0 {
		refuse("imageImport.scheduled.minimumInterval", "%s is negative", c.Scheduled.MinimumInterval.Duration)
	}
	if c.Scheduled.MaxImportsPerMinute < 0 {
		refuse("imageImport.scheduled.maxImportsPerMinute", "%d is negative", c.Scheduled.MaxImportsPerMinute)
	}
}

func validateMirrors(field string, m *configv1.RegistryMirrors, refuse func(field, format string, args ...any)) {
	if m.Source == "" {
		refuse(field+".source", "must be set")
	}
	if p := m.MirrorSourcePolicy; p != configv1.AllowContactingSource && p != configv1.NeverContactSource {
		refuse(field+".mirrorSourcePolicy", "%q is neither %s nor %s", p, configv1.AllowContactingSource, configv1.NeverContactSource)
	}
	if a := m.ApplyTo; a != configv1.MirrorDigests && a != configv1.MirrorTags && a != configv1.MirrorAll {
		refuse(field+".applyTo", "%q is none of Digests, Tags, All", a)
	}
}

func validateRate(field string, limit configv1.RateLimit, refuse func(field, format string, args ...any)) {
	if limit.QPS <= 0 || limit.Burst < 1 {
		refuse(field, "qps %v and burst %d must be positive", limit.QPS, limit.Burst)
	}
}

// isHost tells whether text is a host name or address, with or without port.
func isHost(text string) bool {
	host := text
	if h, port, err := net.SplitHostPort(text); err == nil {
		if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
			return false
		}
		host = h
	} else if strings.Contains(text, ":") {
		return false
	}
	return host != "" && !strings.ContainsAny(host, "/ @?#")
}
