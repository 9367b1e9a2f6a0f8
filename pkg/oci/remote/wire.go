package remote

import (
	"context"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	maxRedirects      = 5
	maxResponseHeader = 256 << 10
	idleConnection    = 30 * time.Second
)

// terms are what a request may do; they travel in its context, through redirects, too.
type terms struct {
	insecure bool
	// streams gives back the host's slot when the answer begins, because it may last for hours.
	streams bool
	// stays refuses redirects to other hosts.
	stays bool
	// login is whose request it is, see loginOf.
	login string
}

type termsKey struct{}

func withTerms(ctx context.Context, t terms) context.Context {
	return context.WithValue(ctx, termsKey{}, t)
}

func termsOf(ctx context.Context) terms {
	t, _ := ctx.Value(termsKey{}).(terms)
	return t
}

// wire carries single requests: it is the only place that requests leave through, so every rule about
// schemes, hosts, addresses and limits holds for pings, tokens and redirects as well. It repeats a
// request after a network error or a status that may pass; each attempt counts.
type wire struct {
	client *Client

	mu   sync.Mutex
	pool map[poolKey]*http.Transport
}

// poolKey tells connections apart that must not be shared.
type poolKey struct {
	insecure, proxied bool
	anchor            string
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(request *http.Request) (*http.Response, error) {
	retries := w.client.options.Retries
	for attempt := 0; ; attempt++ {
		response, err := w.once(request)
		last := attempt == len(retries) || request.Body != nil && request.GetBody == nil
		if last || err != nil && permanent(err) || err == nil && !passing(response.StatusCode) {
			return response, err
		}
		if response != nil {
			drain(response)
		}
		if err := w.client.sleep(request.Context(), jitter(retries[attempt])); err != nil {
			return nil, networkError(request.Context(), canonicalHost(request.URL.Host), err)
		}
		if request.GetBody != nil {
			body, err := request.GetBody()
			if err != nil {
				return nil, err
			}
			request = request.Clone(request.Context())
			request.Body = body
		}
	}
}

func passing(status int) bool {
	switch status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

func jitter(d time.Duration) time.Duration {
	return d + time.Duration(rand.Float64()*0.2*float64(d))
}

func (w *wire) once(request *http.Request) (*http.Response, error) {
	ctx, host, c := request.Context(), canonicalHost(request.URL.Host), w.client
	r, err := c.compiled()
	if err != nil {
		return nil, err
	}
	if err := allowed(request.URL, host, r, termsOf(ctx)); err != nil {
		return nil, err
	}
	leave, err := c.hosts.enter(ctx, host, r.rate(host))
	if err != nil {
		return nil, err
	}
	transport, err := w.transport(request)
	if err != nil {
		leave()
		return nil, networkError(ctx, host, err)
	}
	var carrier http.RoundTripper = transport
	if c.options.Wrap != nil {
		carrier = c.options.Wrap(transport)
	}
	response, err := carrier.RoundTrip(request)
	if err != nil {
		leave()
		return nil, networkError(ctx, host, err)
	}
	if response.StatusCode == http.StatusTooManyRequests {
		c.hosts.cool(host, termsOf(ctx).login, pause(response.Header.Get("Retry-After"), c.options.Clock.Now()))
	}
	if termsOf(ctx).streams {
		leave()
	} else {
		response.Body = &leaving{ReadCloser: response.Body, leave: leave}
	}
	return response, nil
}

// allowed checks where a request goes before anything is sent.
func allowed(u *url.URL, host string, r *rules, t terms) error {
	switch {
	case r.blocked[host]:
		return blockedError(host)
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && t.insecure:
		return nil
	}
	return &Error{Kind: Blocked, Host: host, Message: "registry " + host + ": plain HTTP is for insecure registries only"}
}

func blockedError(host string) *Error {
	return &Error{Kind: Blocked, Host: host, Message: "registry " + host + " blocked"}
}

// transport returns the connections for a request: a registry with authorities of its own, insecure
// ones and proxied ones have their own.
func (w *wire) transport(request *http.Request) (*http.Transport, error) {
	proxy, err := w.client.proxyFor(request)
	if err != nil {
		return nil, err
	}
	key := poolKey{insecure: termsOf(request.Context()).insecure, proxied: proxy != nil}
	var own anchor
	if !key.insecure && request.URL.Scheme == "https" {
		own = w.client.trust.of(request.URL.Host)
		key.anchor = own.id
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if known, ok := w.pool[key]; ok {
		return known, nil
	}
	fresh := w.newTransport(key, own)
	if len(w.pool) >= maxPools {
		w.drop()
	}
	w.pool[key] = fresh
	return fresh, nil
}

// maxPools bounds the groups of connections: certificate files come and go.
const maxPools = 200

// CloseIdleConnections is what http.Client asks for by this name.
func (w *wire) CloseIdleConnections() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop()
}

func (w *wire) drop() {
	for key, old := range w.pool {
		old.CloseIdleConnections()
		delete(w.pool, key)
	}
}

func (w *wire) newTransport(key poolKey, own anchor) *http.Transport {
	o := w.client.options
	transport := &http.Transport{
		DialContext: w.client.dial, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: o.Timeouts.TLSHandshake, ResponseHeaderTimeout: o.Timeouts.ResponseHeader,
		// Compression would be undone on the way, and sizes and digests would be those of something else.
		DisableCompression: true, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: maxResponseHeader,
		IdleConnTimeout: idleConnection, MaxIdleConnsPerHost: o.Limits.PerHost, MaxIdleConns: 100,
	}
	if key.proxied {
		// The proxy itself is the administrator's choice and stands where he put it.
		transport.DialContext, transport.Proxy = o.Dial, w.client.mustProxy
	}
	if key.insecure {
		transport.TLSClientConfig.InsecureSkipVerify = true
	} else if own.id != "" {
		transport.TLSClientConfig.RootCAs = own.pool()
	}
	return transport
}

// checkRedirect is asked before a redirect is followed. Where it leads to is checked by the wire.
func checkRedirect(next *http.Request, via []*http.Request) error {
	first, previous := via[0], via[len(via)-1]
	host := canonicalHost(first.URL.Host)
	moved := canonicalHost(next.URL.Host) != host || next.URL.Scheme != first.URL.Scheme
	refused := ""
	switch {
	case len(via) > maxRedirects:
		refused = "too many redirects"
	case !isHostname(next.URL.Host):
		refused = "a redirect to something that is no host is refused"
	case previous.URL.Scheme == "https" && next.URL.Scheme != "https":
		refused = "a redirect to plain HTTP is refused"
	case next.URL.User != nil:
		refused = "a redirect with a password is refused"
	case moved && termsOf(next.Context()).stays:
		refused = "a redirect of the token service to another host is refused"
	}
	if refused != "" {
		return &Error{Kind: Blocked, Host: host, Message: "registry " + host + ": " + refused}
	}
	// The address before may be a signed one.
	next.Header.Del("Referer")
	if moved {
		next.Header.Del("Authorization")
		next.Header.Del("Cookie")
	}
	return nil
}

// leaving gives the host's slot back when an answer was read or dropped.
type leaving struct {
	io.ReadCloser
	leave func()
}

func (l *leaving) Close() error {
	err := l.ReadCloser.Close()
	l.leave()
	return err
}

// drain ends an answer that nobody reads, so that its connection can be used again.
func drain(response *http.Response) {
	_, _ = io.CopyN(io.Discard, response.Body, 64<<10)
	_ = response.Body.Close()
}

// sleep waits by the client's clock.
func (c *Client) sleep(ctx context.Context, d time.Duration) error {
	timer := c.options.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
