package remote

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"image.alauda.io/registry/pkg/oci/manifest"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

const (
	endpointLifetime = 5 * time.Minute
	maxEndpoints     = 1000
)

// endpoint is how a registry is spoken to.
type endpoint struct {
	scheme string
	// challenge is how to log in; nil means that the registry did not ask for it.
	challenge *transport.Challenge
	found     time.Time
}

// endpoints remembers what was found out about registries, so that not every request begins with a ping.
type endpoints struct {
	mu    sync.Mutex
	known map[endpointKey]endpoint
}

type endpointKey struct {
	host     string
	insecure bool
}

func (e *endpoints) get(key endpointKey, now time.Time) (endpoint, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	found, ok := e.known[key]
	return found, ok && now.Sub(found.found) < endpointLifetime
}

func (e *endpoints) set(key endpointKey, found endpoint) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.known == nil || len(e.known) >= maxEndpoints {
		e.known = map[endpointKey]endpoint{}
	}
	e.known[key] = found
}

func (e *endpoints) drop(key endpointKey) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.known, key)
}

// endpoint pings the registry unless that was done a short while ago. An insecure registry is tried
// with HTTPS first and then with plain HTTP, never with both at once: whoever answers faster is not
// to decide about encryption.
func (s *source) endpoint(ctx context.Context) (endpoint, error) {
	key := endpointKey{host: s.connect, insecure: s.insecure}
	if found, ok := s.client.endpoints.get(key, s.client.options.Clock.Now()); ok {
		return found, nil
	}
	done, err := s.alone(ctx)
	if err != nil {
		return endpoint{}, err
	}
	defer done()
	// Whoever had the turn before may have found out.
	if found, ok := s.client.endpoints.get(key, s.client.options.Clock.Now()); ok {
		return found, nil
	}
	found, err := s.ping(ctx, "https")
	if err != nil && s.insecure && ctx.Err() == nil {
		switch KindOf(err) {
		case Network, Timeout, NotV2Registry:
			plain, errPlain := s.ping(ctx, "http")
			if errPlain == nil || isPlainHTTP(unwrapped(err)) {
				found, err = plain, errPlain
			}
		}
	}
	if err != nil {
		return endpoint{}, err
	}
	found.found = s.client.options.Clock.Now()
	s.client.endpoints.set(key, found)
	return found, nil
}

func (s *source) ping(ctx context.Context, scheme string) (endpoint, error) {
	answer, err := s.read(ctx, request{method: http.MethodGet, scheme: scheme, path: "/v2/"}, "", pingBody)
	if err != nil && KindOf(err) != TooLarge {
		return endpoint{}, err
	}
	switch status := answer.status; {
	case status == http.StatusOK && manifest.BaseMediaType(answer.header.Get("Content-Type")) != "text/html":
		return endpoint{scheme: scheme}, nil
	case status == http.StatusUnauthorized:
		return endpoint{scheme: scheme, challenge: challengeOf(ctx, s.connect, answer.header)}, nil
	case status == http.StatusForbidden:
		// Some registries guard this path and not the others.
		return endpoint{scheme: scheme}, nil
	case status == http.StatusTooManyRequests || status >= http.StatusInternalServerError:
		return endpoint{}, s.statusError(answer, "the registry", Credential{})
	}
	return endpoint{}, &Error{Kind: NotV2Registry, Host: s.host, Message: "registry " + s.host + ": it is not a v2 registry"}
}

// pingBody is all that is read of an answer whose body says nothing.
const pingBody = 64 << 10

// challengeOf reads the challenges of an answer and picks one that can be met; nil when there is none.
// The library has the parser, but only for answers that it asked for itself, so it is shown this one.
func challengeOf(ctx context.Context, host string, header http.Header) *transport.Challenge {
	if header.Get("Www-Authenticate") == "" {
		return nil
	}
	registry, err := name.NewRegistry(host, name.WeakValidation)
	if err != nil {
		return nil
	}
	found, err := transport.Ping(ctx, registry, replay(header))
	if err != nil {
		return nil
	}
	if scheme := strings.ToLower(found.Scheme); scheme != "basic" && scheme != "bearer" {
		return nil
	}
	return found
}

// replay answers every request with a status of 401 and its header.
type replay http.Header

// RoundTrip implements http.RoundTripper.
func (r replay) RoundTrip(request *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusUnauthorized, Header: http.Header(r), Body: http.NoBody, Request: request,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}
