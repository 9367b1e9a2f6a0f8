// Package repository knows which pull specs name a repository of this
// registry, and how such pull specs are written.
//
// In: the host names under which the registry is reached (they may change
// while the server runs, so they come as a function) and the namespace and
// name of a stream. Out: repository strings for stream status, and the answer
// to "does this pull spec name the stream's own repository here?", on which
// the right to read bytes depends.
//
// The package never stores anything and never resolves names on the network.
package repository

import (
	"net"
	"strings"
)

// DefaultClusterDomain is the domain of cluster services when none is known.
const DefaultClusterDomain = "cluster.local"

// Hosts are the names under which this registry is reached.
type Hosts struct {
	// Internal is the name inside the cluster, usually with port. Empty when
	// none is configured.
	Internal string
	// External are the names outside the cluster; the first is published.
	External []string
	// ClusterDomain is the DNS domain of the cluster, DefaultClusterDomain
	// when empty. The internal name is also recognised with this domain
	// behind ".svc". Only the cluster's own domain counts: anybody may own
	// another one.
	ClusterDomain string
}

// HostSource returns the current host names. It must be cheap and safe for
// concurrent use; the result is not modified.
type HostSource func() Hosts

// Owns tells whether host (with port, if any) is a name of this registry.
func (h Hosts) Owns(host string) bool {
	if host == "" {
		return false
	}
	if h.Internal != "" && (host == h.Internal || host == h.qualifiedInternal()) {
		return true
	}
	for _, external := range h.External {
		if host == external {
			return true
		}
	}
	return false
}

// Internal repository of a stream, empty when no internal name is configured.
func (h Hosts) internalRepository(namespace, name string) string {
	if h.Internal == "" {
		return ""
	}
	return h.Internal + "/" + namespace + "/" + name
}

// Repositories returns the repository strings for the status of a stream:
// where it is served inside the cluster, falling back to what its spec names
// when there is no internal host, and where it is served outside, if at all.
func (h Hosts) Repositories(namespace, name, specRepository string) (internal, public string) {
	internal = h.internalRepository(namespace, name)
	if internal == "" {
		internal = specRepository
	}
	if len(h.External) > 0 && h.External[0] != "" {
		public = h.External[0] + "/" + namespace + "/" + name
	}
	return internal, public
}

// PullSpec returns the pull spec of a digest in a stream's own repository.
// Without internal host it uses the first external one; ok is false when the
// registry has no name at all.
func (h Hosts) PullSpec(namespace, name, digest string) (spec string, ok bool) {
	repository := h.internalRepository(namespace, name)
	if repository == "" && len(h.External) > 0 && h.External[0] != "" {
		repository = h.External[0] + "/" + namespace + "/" + name
	}
	if repository == "" {
		return "", false
	}
	return repository + "@" + digest, true
}

// qualifiedInternal is the internal name with the cluster's domain, or empty
// when the internal name is not a Service name.
func (h Hosts) qualifiedInternal() string {
	name, port := h.Internal, ""
	if host, p, err := net.SplitHostPort(h.Internal); err == nil {
		name, port = host, ":"+p
	}
	if !strings.HasSuffix(name, ".svc") {
		return ""
	}
	domain := h.ClusterDomain
	if domain == "" {
		domain = DefaultClusterDomain
	}
	return name + "." + domain + port
}
