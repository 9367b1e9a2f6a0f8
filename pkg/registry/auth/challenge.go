package auth

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// TokenPath is where tokens are handed out.
const TokenPath = "/alauda/token"

var hostPattern = regexp.MustCompile(`^[A-Za-z0-9.:\[\]-]+$`)

// Challenge builds WWW-Authenticate headers.
type Challenge struct {
	// Realm and Service are the names in Basic and Bearer challenges.
	Realm, Service string
	// TokenRealm and Host are configured origins, tried in this order; both may be empty.
	TokenRealm, Host string
	// ServerAddr stands in for a host that cannot be used.
	ServerAddr string
}

// Bearer is the challenge of every route but the token end point. scope and problem
// are left out when they are empty.
func (c Challenge) Bearer(r *http.Request, scope, problem string) string {
	challenge := fmt.Sprintf(`Bearer realm="%s%s",service="%s"`, c.origin(r), TokenPath, c.Service)
	if scope != "" {
		challenge += fmt.Sprintf(`,scope="%s"`, scope)
	}
	if problem != "" {
		challenge += fmt.Sprintf(`,error="%s"`, problem)
	}
	return challenge
}

// Basic is the challenge of the token end point.
func (c Challenge) Basic() string { return fmt.Sprintf(`Basic realm="%s"`, c.Realm) }

func (c Challenge) origin(r *http.Request) string {
	for _, origin := range []string{c.TokenRealm, c.Host} {
		if origin != "" {
			return strings.TrimSuffix(origin, "/")
		}
	}
	return RequestOrigin(r, c.ServerAddr)
}

// RequestOrigin is scheme://host under which the client reached the registry, as far
// as proxies tell. A host with foreign characters is replaced by fallback, so that no
// header of a client can put text into a challenge or a Location.
func RequestOrigin(r *http.Request, fallback string) string {
	scheme, host := schemeOf(r.TLS), r.Host
	if forwarded := r.Header.Get("Forwarded"); forwarded != "" {
		first, _, _ := strings.Cut(forwarded, ",")
		for pair := range strings.SplitSeq(first, ";") {
			key, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			switch value = strings.Trim(value, `"`); strings.ToLower(key) {
			case "proto":
				scheme = value
			case "host":
				host = value
			}
		}
	} else {
		if proto := firstValue(r, "X-Forwarded-Proto"); proto != "" {
			scheme = proto
		}
		if forwardedHost := firstValue(r, "X-Forwarded-Host"); forwardedHost != "" {
			host = forwardedHost
		}
		if port := firstValue(r, "X-Forwarded-Port"); port != "" && !strings.Contains(host, ":") && !isDefaultPort(scheme, port) {
			host += ":" + port
		}
	}
	if scheme = strings.ToLower(scheme); scheme != "http" && scheme != "https" {
		scheme = schemeOf(r.TLS)
	}
	if !hostPattern.MatchString(host) {
		host = fallback
	}
	return scheme + "://" + host
}

func schemeOf(state *tls.ConnectionState) string {
	if state != nil {
		return "https"
	}
	return "http"
}

func isDefaultPort(scheme, port string) bool {
	return scheme == "https" && port == "443" || scheme == "http" && port == "80"
}

func firstValue(r *http.Request, name string) string {
	first, _, _ := strings.Cut(r.Header.Get(name), ",")
	return strings.TrimSpace(first)
}
