package pullthrough

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/route"
)

// HeaderPassed names the registries that a question has passed, one value each.
const HeaderPassed = "X-Registry-Request-Url"

const (
	// maxPassed and maxPassedBytes bound what a stranger makes this registry pass on.
	maxPassed      = 16
	maxPassedBytes = 4 << 10
)

// ownHosts are the names of this registry.
type ownHosts struct {
	exact []string
	// inside is the name and the port of the Service, to which a domain may be added.
	insideName, insidePort string
}

func newOwnHosts(serverAddr string, more []string) ownHosts {
	own := ownHosts{}
	own.insideName, own.insidePort = splitPort(canonical(serverAddr))
	for _, host := range append([]string{serverAddr}, more...) {
		if host != "" {
			own.exact = append(own.exact, canonical(host))
		}
	}
	return own
}

// OwnHosts returns a function that tells whether host[/path] is on this registry.
func OwnHosts(serverAddr string, more []string) func(name string) bool {
	own := newOwnHosts(serverAddr, more)
	return func(name string) bool {
		host, _, _ := strings.Cut(name, "/")
		return own.has(host)
	}
}

// of adds the names by which a stream knows this registry.
func (o ownHosts) of(stream *imagev1.ImageStream) ownHosts {
	o.exact = slices.Clone(o.exact)
	for _, repository := range []string{stream.Status.DockerImageRepository, stream.Status.PublicDockerImageRepository} {
		if host, _, found := strings.Cut(repository, "/"); found {
			o.exact = append(o.exact, canonical(host))
		}
	}
	return o
}

// has tells whether a host is this registry. The domain of the cluster is not known here,
// so any one behind the name of the Service counts: at worst somebody else is not asked.
func (o ownHosts) has(host string) bool {
	host = canonical(host)
	if slices.Contains(o.exact, host) {
		return true
	}
	name, port := splitPort(host)
	return strings.HasSuffix(o.insideName, ".svc") && port == o.insidePort && strings.HasPrefix(name, o.insideName+".")
}

func canonical(host string) string {
	name, port := splitPort(strings.ToLower(host))
	name = strings.TrimSuffix(name, ".")
	if port == "" || port == "443" {
		return name
	}
	return name + ":" + port
}

// splitPort separates the port; the brackets of an IPv6 address stay.
func splitPort(host string) (name, port string) {
	i := strings.LastIndexByte(host, ':')
	if i < 0 || strings.HasSuffix(host, "]") {
		return host, ""
	}
	return host[:i], host[i+1:]
}

// Installation derives a name for this registry from a secret of all its replicas.
func Installation(secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("pull-through"))
	return hex.EncodeToString(mac.Sum(nil))[:16]
}

// mark is how this registry signs what passes through one of its repositories. Registries
// of two clusters have the same address, so the address alone does not do.
func (s *Service) mark(name route.Name) string {
	return "https://" + s.options.ServerAddr + "/v2/" + name.String() + "?registry=" + s.options.Installation
}

// checkLoop refuses a question that was here before. The digest of a question never
// changes on its way, so the repository says enough.
func (s *Service) checkLoop(r *Request) error {
	// A proxy may have joined the values; marks have no commas.
	joined := strings.Join(r.Passed, ",")
	passed := strings.Split(joined, ",")
	here := slices.ContainsFunc(passed, func(value string) bool { return strings.TrimSpace(value) == s.mark(r.Name) })
	if here || len(passed) > maxPassed || len(joined) > maxPassedBytes {
		return apierror.New(http.StatusServiceUnavailable, apierror.CodeUnavailable,
			"loop detected: the source of %s leads back to this registry", r.Name)
	}
	return nil
}
