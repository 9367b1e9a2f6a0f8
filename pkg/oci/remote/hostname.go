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

// sameOwner tells whether a credential for one host may be shown to another one: the same host, or one
// of the same registrable domain. Neither has a port.
func sameOwner(a, b string) bool {
	a, b = strings.TrimSuffix(strings.ToLower(a), "."), strings.TrimSuffix(strings.ToLower(b), ".")
	if a == b {
		return a != ""
	}
	if isAddress(a) || isAddress(b) {
		return false
	}
	left, errLeft := publicsuffix.EffectiveTLDPlusOne(ownerName(a))
	right, errRight := publicsuffix.EffectiveTLDPlusOne(ownerName(b))
	return errLeft == nil && errRight == nil && left == right
}

// ownerName cuts the cluster's domain from the name of a Service, so that what is registered is the
// namespace: name.namespace.svc.
func ownerName(host string) string {
	if before, _, found := strings.Cut(host, ".svc."); found {
		return before + ".svc"
	}
	return host
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}
