package remote

import (
	"net/netip"
	"strings"

	"image.alauda.io/api/image/reference"

	"golang.org/x/net/publicsuffix"
)

const hubConnectHost = "registry-1.docker.io"

// canonicalHost is the name under which a registry's limits are kept and its rules are found: small
// letters, one name for Docker Hub, no port 443.
func canonicalHost(host string) string {
	host = strings.ToLower(host)
	if name, port := splitPort(host); port == "443" || port == "" {
		host = strings.TrimSuffix(name, ".")
	}
	if host == "" || reference.IsDockerHub(host) {
		return reference.DefaultRegistry
	}
	return host
}

// connectHost is the host of the URLs of a registry.
func connectHost(host string) string {
	if canonicalHost(host) == reference.DefaultRegistry {
		return hubConnectHost
	}
	return strings.ToLower(host)
}

func splitPort(host string) (name, port string) {
	if colon := strings.LastIndexByte(host, ':'); colon > strings.LastIndexByte(host, ']') {
		return host[:colon], host[colon+1:]
	}
	return host, ""
}

// maxHostname is the length of the longest DNS name.
const maxHostname = 253

// isHostname tells whether the host of a URL or reference can be one. Strangers choose it, and it is
// remembered with its limits and repeated in messages.
func isHostname(host string) bool {
	name, port := splitPort(host)
	if name == "" || len(name) > maxHostname || len(port) > len("65535") {
		return false
	}
	if strings.HasPrefix(name, "[") {
		_, err := netip.ParseAddr(strings.TrimSuffix(name[1:], "]"))
		return err == nil
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._", r))
	})
}

// sameOwner tells whether a credential for one host may be shown to another one: the same host, or one
// of the same registrable domain; of Services, one of the same namespace. Neither has a port.
func sameOwner(a, b string) bool {
	a, b = strings.TrimSuffix(strings.ToLower(a), "."), strings.TrimSuffix(strings.ToLower(b), ".")
	if a == b {
		return a != ""
	}
	if isAddress(a) || isAddress(b) {
		return false
	}
	left, isService := serviceOf(a)
	right, isOther := serviceOf(b)
	if isService || isOther {
		return left == right
	}
	domain, errLeft := publicsuffix.EffectiveTLDPlusOne(a)
	other, errRight := publicsuffix.EffectiveTLDPlusOne(b)
	return errLeft == nil && errRight == nil && domain == other
}

// service tells whose Service a host is.
type service struct{ namespace, domain string }

// defaultClusterDomain is the one that a Service's name without domain most likely has.
const defaultClusterDomain = "cluster.local"

// serviceOf reads name.namespace.svc with or without the domain of a cluster. That domain counts:
// anybody may have names below one of his own that look like a Service.
func serviceOf(host string) (service, bool) {
	before, domain, found := strings.Cut(host+".", ".svc.")
	dot := strings.LastIndexByte(before, '.')
	if !found || dot < 0 {
		return service{}, false
	}
	domain = strings.TrimSuffix(domain, ".")
	if domain == "" {
		domain = defaultClusterDomain
	}
	return service{namespace: before[dot+1:], domain: domain}, true
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}
