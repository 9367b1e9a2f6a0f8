package remote

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"

	configv1 "image.alauda.io/api/config/v1"
)

// defaultRate holds for registries when the settings have no rate limit at all.
var defaultRate = configv1.RateLimit{QPS: 10, Burst: 20}

// rules are Settings in the form in which they are asked. They are immutable.
type rules struct {
	settings *Settings
	denied   []netip.Prefix
	allowed  map[string]bool
	blocked  map[string]bool
	insecure map[string]bool
	rates    map[string]configv1.RateLimit
	mirrors  []mirrorRule
}

func compile(s *Settings) (*rules, error) {
	r := &rules{
		settings: s, allowed: map[string]bool{}, blocked: hostSet(s.BlockedRegistries),
		insecure: hostSet(s.InsecureRegistries), rates: map[string]configv1.RateLimit{}, mirrors: mirrorRules(s.Mirrors),
	}
	for _, text := range s.DeniedCIDRs {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("denied network %q: %w", text, err)
		}
		r.denied = append(r.denied, prefix)
	}
	for _, host := range s.AllowedHosts {
		// The port counts here, also 443: only an entry without one holds for all.
		r.allowed[strings.ToLower(host)] = true
	}
	for host, rate := range s.RateLimits.Hosts {
		r.rates[canonicalHost(host)] = rate
	}
	return r, nil
}

func hostSet(hosts []string) map[string]bool {
	set := map[string]bool{}
	for _, host := range hosts {
		set[canonicalHost(host)] = true
	}
	return set
}

func (r *rules) rate(host string) configv1.RateLimit {
	rate, ok := r.rates[host]
	if !ok {
		rate = r.settings.RateLimits.Default
	}
	if rate.QPS <= 0 {
		rate = defaultRate
	}
	rate.Burst = max(rate.Burst, 1)
	return rate
}

// denies tells whether no connection may be made to an address.
func (r *rules) denies(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	if !address.IsValid() || address.IsUnspecified() || address.IsMulticast() {
		return true
	}
	for _, prefix := range r.denied {
		if prefix.Contains(address) {
			return true
		}
	}
	inner, found := embedded(address)
	return found && r.denies(inner)
}

// gateways are the networks whose addresses hold one of IPv4, by the offset of its first byte: NAT64
// (RFC 6052, RFC 8215), SIIT (RFC 2765), 6to4 (RFC 3056), IPv4-compatible (RFC 4291).
var gateways = map[netip.Prefix]int{
	netip.MustParsePrefix("64:ff9b::/96"):    12,
	netip.MustParsePrefix("64:ff9b:1::/48"):  12,
	netip.MustParsePrefix("::ffff:0:0:0/96"): 12,
	netip.MustParsePrefix("2002::/16"):       2,
	netip.MustParsePrefix("::/96"):           12,
}

// embedded returns the IPv4 address that a gateway on the way connects to instead.
func embedded(address netip.Addr) (netip.Addr, bool) {
	if !address.Is6() {
		return netip.Addr{}, false
	}
	bytes := address.As16()
	for prefix, offset := range gateways {
		if prefix.Contains(address) {
			return netip.AddrFrom4([4]byte(bytes[offset : offset+4])), true
		}
	}
	return netip.Addr{}, false
}

// exempts tells whether a host is reached on every address. An entry without port holds for all ports.
func (r *rules) exempts(name, port string) bool {
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	name = strings.ToLower(name)
	if r.allowed[name] || r.allowed[name+":"+port] {
		return true
	}
	return name == hubConnectHost && r.allowed[canonicalHost(name)]
}

// The bounds of a pause that a registry asks for. A shorter one would make a refused client come back
// at once, a longer one could silence a registry for good.
const (
	minCooldown = 30 * time.Second
	maxCooldown = 15 * time.Minute
)

// compiled returns the rules of the current settings.
func (c *Client) compiled() (*rules, error) {
	settings := c.options.Settings()
	if settings == nil {
		settings = &noSettings
	}
	known := c.rules.Load()
	if known != nil && (known.settings == settings || reflect.DeepEqual(known.settings, settings)) {
		return known, nil
	}
	fresh, err := compile(settings)
	if err != nil {
		return nil, &Error{Kind: Internal, Message: "registry client: " + err.Error()}
	}
	c.rules.Store(fresh)
	return fresh, nil
}

// noSettings is what a nil pointer means.
var noSettings Settings
