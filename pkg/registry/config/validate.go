package config

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"
)

// storageSettings are the keys of the section storage that are not drivers.
var storageSettings = []string{"maintenance", "cache", "delete", "redirect", "tag"}

const minimumCollectionAge = 10 * time.Minute

// Validate checks every value; the error names all bad keys.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	errs = append(errs, c.storageErrors()...)
	errs = append(errs, c.switchErrors()...)
	if c.Alauda.Version != alaudaVersion {
		bad("alauda.version: %q is not supported, use %q", c.Alauda.Version, alaudaVersion)
	}
	if c.Alauda.Server.Addr == "" {
		bad("alauda.server.addr: must be set, it is the prefix of every image reference")
	}
	if realm := c.Alauda.Auth.TokenRealm; realm != "" && !isOrigin(realm) {
		bad("alauda.auth.tokenrealm: %q must have the form scheme://host[:port]", realm)
	}
	if host := c.Configuration.HTTP.Host; host != "" && !isOrigin(host) {
		bad("http.host: %q must have the form scheme://host[:port]", host)
	}
	if (c.Configuration.HTTP.TLS.Certificate == "") != (c.Configuration.HTTP.TLS.Key == "") {
		bad("http.tls: certificate and key must be set together")
	}
	if c.Alauda.Manifests.MaxSize <= 0 {
		bad("alauda.manifests.maxsize: must be positive")
	}
	if c.Alauda.KubeClient.QPS <= 0 || c.Alauda.KubeClient.Burst <= 0 || c.Alauda.KubeClient.Timeout <= 0 {
		bad("alauda.kubeclient: qps, burst and timeout must be positive")
	}
	if c.Configuration.Catalog.MaxEntries <= 0 || c.Configuration.Tags.MaxTags <= 0 {
		bad("catalog.maxentries and tags.maxtags: must be positive")
	}
	errs = append(errs, c.limitErrors()...)
	errs = append(errs, c.validationErrors()...)
	errs = append(errs, c.pullThroughErrors()...)
	errs = append(errs, c.maintenanceErrors()...)
	return errors.Join(errs...)
}

func (c *Config) limitErrors() (errs []error) {
	for key, limit := range map[string]Limit{"read": c.Alauda.Requests.Read, "write": c.Alauda.Requests.Write} {
		if limit.MaxRunning < 0 || limit.MaxInQueue < 0 || limit.MaxWaitInQueue < 0 {
			errs = append(errs, fmt.Errorf("alauda.requests.%s: must not be negative", key))
		}
	}
	cache := c.Alauda.Auth.Cache
	for key, value := range map[string]time.Duration{
		"alauda.auth.cache.tokenttl":        cache.TokenTTL,
		"alauda.auth.cache.tokenfailurettl": cache.TokenFailureTTL,
		"alauda.auth.cache.allowttl":        cache.AllowTTL,
		"alauda.auth.cache.denyttl":         cache.DenyTTL,
		"alauda.quota.cachettl":             c.Alauda.Quota.CacheTTL,
		"alauda.cache.blobrepositoryttl":    c.Alauda.Cache.BlobRepositoryTTL,
		"alauda.http.shutdowndelay":         c.Alauda.HTTP.ShutdownDelay,
		"http.draintimeout":                 c.Configuration.HTTP.DrainTimeout,
	} {
		if value < 0 {
			errs = append(errs, fmt.Errorf("%s: must not be negative", key))
		}
	}
	if c.Alauda.HTTP.IOTimeout <= 0 {
		errs = append(errs, fmt.Errorf("alauda.http.iotimeout: must be positive"))
	}
	if check := c.Configuration.Health.StorageDriver; check.Enabled && (check.Interval <= 0 || check.Threshold <= 0) {
		errs = append(errs, fmt.Errorf("health.storagedriver: interval and threshold must be positive"))
	}
	sort.Slice(errs, func(i, j int) bool { return errs[i].Error() < errs[j].Error() })
	return errs
}

func (c *Config) validationErrors() (errs []error) {
	urls := c.Configuration.Validation.Manifests.URLs
	for _, pattern := range slices.Concat(urls.Allow, urls.Deny) {
		if _, err := regexp.Compile(pattern); err != nil {
			errs = append(errs, fmt.Errorf("validation.manifests.urls: %w", err))
		}
	}
	switch platforms := string(c.Configuration.Validation.Manifests.Indexes.Platforms); platforms {
	case "", "all", "list", "none":
	default:
		errs = append(errs, fmt.Errorf("validation.manifests.indexes.platforms: %q must be all, list or none", platforms))
	}
	if len(c.Configuration.Auth) > 1 {
		errs = append(errs, fmt.Errorf("auth: more than one kind is configured: %s", strings.Join(slices.Sorted(maps.Keys(c.Configuration.Auth)), ", ")))
	}
	if c.NoAuth() && !c.Alauda.AllowNoAuth && (c.Alauda.Kubeconfig != "" || os.Getenv("KUBECONFIG") != "" || os.Getenv("KUBERNETES_SERVICE_HOST") != "") {
		errs = append(errs, fmt.Errorf("auth: none is refused where a Kubernetes cluster is configured, unless alauda.allownoauth is true"))
	}
	return errs
}

func (c *Config) pullThroughErrors() (errs []error) {
	for _, cidr := range c.Alauda.PullThrough.DeniedCIDRs {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			errs = append(errs, fmt.Errorf("alauda.pullthrough.deniedcidrs: %w", err))
		}
	}
	for _, rule := range c.Alauda.PullThrough.Mirrors {
		if rule.Source == "" {
			errs = append(errs, fmt.Errorf("alauda.pullthrough.mirrors: a rule without source"))
		}
		switch rule.MirrorSourcePolicy {
		case "", "AllowContactingSource", "NeverContactSource":
		default:
			errs = append(errs, fmt.Errorf("alauda.pullthrough.mirrors: mirrorSourcePolicy %q must be AllowContactingSource or NeverContactSource", rule.MirrorSourcePolicy))
		}
	}
	return errs
}

// isOrigin accepts scheme://host[:port] and nothing behind it.
func isOrigin(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil &&
		(u.Path == "" || u.Path == "/") && u.RawQuery == "" && u.Fragment == ""
}

// NoAuth tells whether authentication and image API are switched off (auth: none).
func (c *Config) NoAuth() bool { return c.Configuration.Auth.Type() == "none" }

// StorageDriver returns the name of the one configured driver.
func (c *Config) StorageDriver() (string, error) {
	var drivers []string
	for key := range c.Configuration.Storage {
		if !slices.Contains(storageSettings, key) {
			drivers = append(drivers, key)
		}
	}
	sort.Strings(drivers)
	switch len(drivers) {
	case 0:
		return "", fmt.Errorf("storage: no driver is configured")
	case 1:
		return drivers[0], nil
	default:
		return "", fmt.Errorf("storage: exactly one driver must be configured, not %v (the variable REGISTRY_STORAGE replaces the whole section of the file)", drivers)
	}
}

// ReadOnly tells whether storage.maintenance.readonly.enabled is set.
func (c *Config) ReadOnly() bool {
	enabled, _ := c.storageSetting("maintenance.readonly.enabled").(bool)
	return enabled
}

// RedirectDisabled tells whether storage.redirect.disable is set, or nothing is there to redirect
// to: a file system has no addresses, unless a middleware gives it some.
func (c *Config) RedirectDisabled() bool {
	disabled, _ := c.Configuration.Storage["redirect"]["disable"].(bool)
	name, err := c.StorageDriver()
	return disabled || err == nil && name == "filesystem" && len(c.Configuration.Middleware["storage"]) == 0
}

// ignored lists sections that are accepted and have no effect.
func (c *Config) ignored() (warnings []string) {
	warnings = c.storageWarnings()
	ignore := func(set bool, key string) {
		if set {
			warnings = append(warnings, "configuration section "+key+" has no effect in this registry")
		}
	}
	ignore(c.Configuration.Auth.Type() != "" && !c.NoAuth(), "auth")
	ignore(c.Configuration.Proxy.RemoteURL != "", "proxy")
	ignore(len(c.Configuration.Redis.Options.Addrs) > 0, "redis")
	ignore(len(c.Configuration.Middleware["registry"]) > 0, "middleware.registry")
	ignore(len(c.Configuration.Middleware["repository"]) > 0, "middleware.repository")
	ignore(c.Configuration.HTTP.TLS.LetsEncrypt.Email != "", "http.tls.letsencrypt")
	ignore(c.Configuration.HTTP.Prefix != "" && c.Configuration.HTTP.Prefix != "/", "http.prefix")
	if c.Alauda.GC.MinAge < minimumCollectionAge {
		warnings = append(warnings, "alauda.gc.minage below 10m is for tests only: pushes may lose blobs")
	}
	return warnings
}
