package references

import (
	"net"
	"strings"
	"sync"
)

// Hosts are the names under which this registry is known. It may be filled and asked by several
// goroutines. The nil Hosts hold every name.
type Hosts struct {
	// service is the registry's Service, "name.namespace", reached at the port; the domain of the cluster
	// after it does not matter.
	service, port string

	mu    sync.RWMutex
	names map[string]bool
}

// NewHosts starts with the names of a Service, "name.namespace".
func NewHosts(service, port string) *Hosts {
	return &Hosts{service: service, port: port, names: map[string]bool{}}
}

// Add makes a host known, with or without a port. An empty one is ignored.
func (h *Hosts) Add(hosts ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, host := range hosts {
		if host != "" {
			h.names[canonicalHost(host)] = true
		}
	}
}

// AddAddress makes an address known at the port of the Service.
func (h *Hosts) AddAddress(addresses ...string) {
	for _, address := range addresses {
		if net.ParseIP(address) != nil {
			h.Add(net.JoinHostPort(address, h.port))
		}
	}
}

// AddRepository makes the host of "host/namespace/name" known.
func (h *Hosts) AddRepository(repository string) {
	if host, _, found := strings.Cut(repository, "/"); found && h != nil {
		h.Add(host)
	}
}

// Has tells whether a host in a reference means this registry. Docker Hub never does, however its name
// got into the list: it is what names without a host are completed to.
func (h *Hosts) Has(host string) bool {
	if h == nil {
		return true
	}
	if host == "docker.io" {
		return false
	}
	host = canonicalHost(host)
	if name, isService := strings.CutSuffix(host, ":"+h.port); isService {
		rest, found := strings.CutPrefix(name, h.service)
		if found && (rest == "" || rest == ".svc" || strings.HasPrefix(rest, ".svc.")) {
			return true
		}
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.names[host]
}

// canonicalHost: a host without a port is meant at the port of HTTPS, and an IPv6 address can be written in
// several ways.
func canonicalHost(host string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ":443")
	if rest, bracket := strings.CutPrefix(host, "["); bracket {
		address, port, _ := strings.Cut(rest, "]")
		if ip := net.ParseIP(address); ip != nil {
			host = "[" + ip.String() + "]" + port
		}
	}
	return host
}
