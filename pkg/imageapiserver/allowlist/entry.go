package allowlist

import (
	"strings"

	configv1 "image.alauda.io/api/config/v1"
	"image.alauda.io/api/image/reference"
	"image.alauda.io/registry/pkg/imageapiconfig"
)

const (
	securePort   = "443"
	insecurePort = "80"
)

// Entry is one allowed registry: a pattern for its host and one for its port.
// In a pattern, * stands for any characters and ? for one.
type Entry struct {
	host, port string
}

// ParseEntry reads host[:port]. Without port it means 443, or 80 for an
// insecure registry.
func ParseEntry(location configv1.RegistryLocation) (Entry, error) {
	host, port, err := imageapiconfig.Location(location)
	if err != nil {
		return Entry{}, err
	}
	switch {
	case port != "":
	case location.Insecure:
		port = insecurePort
	default:
		port = securePort
	}
	return Entry{host: host, port: port}, nil
}

// String is host:port, as patterns.
func (e Entry) String() string { return e.host + ":" + e.port }

func (e Entry) matches(t target) bool {
	return matches(e.host, t.host) && matches(e.port, t.port)
}

// target is one way in which a client may reach what a reference names.
type target struct{ host, port string }

// String is host:port.
func (t target) String() string { return t.host + ":" + t.port }

// targets returns every host and port that a reference stands for; the first
// is the one to show. All names of Docker Hub mean the same registry.
func targets(ref reference.DockerImageReference, transport Transport) []target {
	written, port, ok := imageapiconfig.SplitPort(strings.ToLower(ref.DockerClientDefaults().Registry))
	if !ok {
		written, port = ref.Registry, ""
	}
	ports := []string{port}
	if port == "" {
		ports = map[Transport][]string{Secure: {securePort}, Insecure: {insecurePort}, Any: {securePort, insecurePort}}[transport]
	}
	hosts := []string{written}
	if reference.IsDockerHub(written) {
		hosts = append(hosts, reference.DefaultRegistry)
	}
	all := make([]target, 0, len(hosts)*len(ports))
	for _, host := range hosts {
		for _, port := range ports {
			all = append(all, target{host, port})
		}
	}
	return all
}

// matches tells whether text is what the pattern describes. It looks at each
// position once per star, so that no pattern takes long.
func matches(pattern, text string) bool {
	star, retry := -1, 0
	p, t := 0, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, retry = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			retry++
			p, t = star+1, retry
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
