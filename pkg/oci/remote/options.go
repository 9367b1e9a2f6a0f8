package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	configv1 "image.alauda.io/api/config/v1"

	"k8s.io/utils/clock"
)

// Settings are what may change while the process runs. Fields are those of imageImport in the
// configuration of image-api-server; the registry's pull-through has the same ones.
type Settings struct {
	// DeniedCIDRs are networks that no connection is made to.
	DeniedCIDRs []string
	// AllowedHosts, each host or host:port, are exempt from DeniedCIDRs; without a port, on all ports.
	AllowedHosts []string
	// RateLimits holds one token bucket per registry; its host names are those of references.
	RateLimits configv1.RateLimits
	// BlockedRegistries are never contacted.
	BlockedRegistries []string
	// InsecureRegistries are contacted without verified certificates, or over plain HTTP.
	InsecureRegistries []string
	// Mirrors are asked before the registries that they mirror.
	Mirrors []configv1.RegistryMirrors
}

// SettingsFrom takes the settings out of the configuration file's section.
func SettingsFrom(c *configv1.ImageImportConfig) *Settings {
	return &Settings{
		DeniedCIDRs: c.DeniedCIDRs, AllowedHosts: c.AllowedHosts, RateLimits: c.RateLimits,
		BlockedRegistries: c.BlockedRegistries, InsecureRegistries: c.InsecureRegistries, Mirrors: c.Mirrors,
	}
}

// Validate reports the first network that is none.
func (s *Settings) Validate() error {
	for _, cidr := range s.DeniedCIDRs {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			return fmt.Errorf("denied network %q: %w", cidr, err)
		}
	}
	return nil
}

// Limits bounds what is read from a registry, in bytes.
type Limits struct {
	Manifest int64
	Config   int64
	TagPage  int64
	// Tags is the number of tag names read of one repository.
	Tags int
	// PerHost is the number of requests to one registry at a time.
	PerHost int
	// Hosts is the number of registries whose limits are remembered.
	Hosts int
}

// Timeouts of a request.
type Timeouts struct {
	Dial           time.Duration
	TLSHandshake   time.Duration
	ResponseHeader time.Duration
	// Request is for a request with its answer; a blob that is streamed has BodyIdle instead.
	Request time.Duration
	// BodyIdle is the time in which some byte of a streamed blob has to arrive.
	BodyIdle time.Duration
}

// Options of a Client.
type Options struct {
	// UserAgent is sent with every request: name/version.
	UserAgent string
	// Settings returns the current settings. What it points to is never modified; a change comes with
	// another pointer.
	Settings func() *Settings
	// CADirs hold certificate authorities, each in a file named after the host it is for
	// (pkg/hostcerts). Directories that do not exist are fine.
	CADirs []string
	// CACheck is how often the directories are looked at, at most.
	CACheck time.Duration
	// InternalHosts returns the hosts of the integrated registry: never asked through a proxy, and
	// reached on every address.
	InternalHosts func() []string
	// VerifiedHosts returns the hosts that RepositoryOptions.Insecure does not make insecure, because
	// what they answer proves something. The settings still can.
	VerifiedHosts func() []string
	Limits        Limits
	Timeouts      Timeouts
	// Retries are the pauses before each repetition after a network error or a status of 500, 502, 503
	// or 504; up to a fifth is added at random.
	Retries []time.Duration
	Clock   clock.WithDelayedExecution
	// Wrap surrounds the transport of every single request; nil for nothing.
	Wrap func(http.RoundTripper) http.RoundTripper
	// Proxy chooses the proxy of a request; nil reads the environment.
	Proxy func(*http.Request) (*url.URL, error)
	// Resolve and Dial reach the network; both see what the guard is for.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

// DefaultOptions returns the limits and time-outs of the specification. UserAgent and Settings are left
// to the caller.
func DefaultOptions() Options {
	return Options{
		CACheck:       10 * time.Second,
		InternalHosts: func() []string { return nil },
		VerifiedHosts: func() []string { return nil },
		Limits: Limits{
			Manifest: 4 << 20, Config: 8 << 20, TagPage: 4 << 20, Tags: 10_000, PerHost: 8, Hosts: 1000,
		},
		Timeouts: Timeouts{
			Dial: 10 * time.Second, TLSHandshake: 10 * time.Second, ResponseHeader: 20 * time.Second,
			Request: 30 * time.Second, BodyIdle: 60 * time.Second,
		},
		Retries: []time.Duration{250 * time.Millisecond, time.Second},
		Clock:   clock.RealClock{},
		Proxy:   http.ProxyFromEnvironment,
		Resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
		Dial: (&net.Dialer{}).DialContext,
	}
}

// Validate reports what a Client cannot work without.
func (o *Options) Validate() error {
	l, t := o.Limits, o.Timeouts
	switch {
	case o.UserAgent == "":
		return errors.New("registry client: a user agent is required")
	case o.Settings == nil || o.InternalHosts == nil || o.VerifiedHosts == nil || o.Clock == nil || o.Proxy == nil || o.Resolve == nil || o.Dial == nil:
		return errors.New("registry client: settings, internal and verified hosts, clock, proxy, resolver and dialer are required")
	case l.Manifest <= 0 || l.Config <= 0 || l.TagPage <= 0 || l.Tags <= 0 || l.PerHost <= 0 || l.Hosts <= 0:
		return errors.New("registry client: every limit must be positive")
	case t.Dial <= 0 || t.TLSHandshake <= 0 || t.ResponseHeader <= 0 || t.Request <= 0 || t.BodyIdle <= 0:
		return errors.New("registry client: every time-out must be positive")
	}
	return nil
}
