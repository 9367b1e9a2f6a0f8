package v1

import "time"

// Defaults of the configuration file.
const (
	DefaultMaxTagsPerRepository = 50
	DefaultImportMode           = "PreserveOriginal"
	DefaultWorkers              = 50
	DefaultMinimumInterval      = 15 * time.Minute
	DefaultMaxImportsPerMinute  = 60
)

// SetDefaults fills every field that is unset. The internal host name has no
// default: without it the server knows no registry of its own.
func SetDefaults(c *ImageAPIServerConfig) {
	c.APIVersion, c.Kind = APIVersion, Kind
	setImportDefaults(&c.ImageImport)
	if c.ImageLookup.Enabled == nil {
		enabled := true
		c.ImageLookup.Enabled = &enabled
	}
}

func setImportDefaults(c *ImageImportConfig) {
	if c.MaxTagsPerRepository == nil {
		n := int32(DefaultMaxTagsPerRepository)
		c.MaxTagsPerRepository = &n
	}
	if c.DefaultImportMode == "" {
		c.DefaultImportMode = DefaultImportMode
	}
	if c.DeniedCIDRs == nil {
		c.DeniedCIDRs = []string{"127.0.0.0/8", "::1/128", "169.254.0.0/16", "fe80::/10"}
	}
	if c.RateLimits.Default == (RateLimit{}) {
		c.RateLimits.Default = RateLimit{QPS: 10, Burst: 20}
	}
	if c.RateLimits.Hosts == nil {
		c.RateLimits.Hosts = map[string]RateLimit{"docker.io": {QPS: 2, Burst: 5}}
	}
	if c.Workers == 0 {
		c.Workers = DefaultWorkers
	}
	if c.Scheduled.MinimumInterval.Duration == 0 {
		c.Scheduled.MinimumInterval.Duration = DefaultMinimumInterval
	}
	if c.Scheduled.MaxImportsPerMinute == 0 {
		c.Scheduled.MaxImportsPerMinute = DefaultMaxImportsPerMinute
	}
	for i := range c.Mirrors {
		m := &c.Mirrors[i]
		if m.MirrorSourcePolicy == "" {
			m.MirrorSourcePolicy = AllowContactingSource
		}
		if m.ApplyTo == "" {
			m.ApplyTo = MirrorAll
		}
	}
}
