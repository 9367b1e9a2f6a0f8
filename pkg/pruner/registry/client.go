package registry

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

const (
	// attempts at one request, with waits that begin at firstWait and double.
	attempts  = 4
	firstWait = 500 * time.Millisecond
	// maxWait bounds what a registry may ask for with Retry-After.
	maxWait = 30 * time.Second
	// requestTimeout bounds one attempt, graceTimeout what is still done about a request in flight after an
	// interruption.
	requestTimeout = 30 * time.Second
	graceTimeout   = 20 * time.Second
	// breakerLimit is how many requests in a row may fail.
	breakerLimit = 20
	// maxErrorBody and maxReport are how much of an answer is read.
	maxErrorBody = 64 << 10
	maxReport    = 4 << 20
	// concealed stands for a token.
	concealed = "(token)"
)

// Options say where the registry is and how to talk to it.
type Options struct {
	// Address is scheme and host. With TryHTTP, http is tried when https fails in the preflight.
	Address *url.URL
	TryHTTP bool
	// Authorities are PEM bundles that are trusted besides those of the system. Insecure accepts every
	// certificate.
	Authorities [][]byte
	Insecure    bool
	// Tokens is asked for every request.
	Tokens TokenSource
	// UserAgent of every request.
	UserAgent string
	// Connections is how many are kept.
	Connections int
	Clock       clock.Clock
}

// Client talks to one registry. Its methods may be used concurrently.
type Client struct {
	options Options
	http    *http.Client
	address url.URL

	mu      sync.Mutex
	failed  int
	stopped error
}

// New returns a client. Nothing is sent.
func New(options Options) (*Client, error) {
	if options.Address == nil || options.Tokens == nil || options.Clock == nil {
		return nil, errors.New("registry: an address, a source of tokens and a clock are needed")
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, bundle := range options.Authorities {
		pool.AppendCertsFromPEM(bundle)
	}
	connections := max(options.Connections, 1)
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: pool, InsecureSkipVerify: options.Insecure, MinVersion: tls.VersionTLS12}, //nolint:gosec // asked for by name
		TLSHandshakeTimeout:    10 * time.Second,
		MaxIdleConns:           connections,
		MaxIdleConnsPerHost:    connections,
		MaxConnsPerHost:        connections,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxErrorBody,
	}
	return &Client{
		options: options, address: url.URL{Scheme: options.Address.Scheme, Host: options.Address.Host},
		http: &http.Client{
			Transport: transport,
			// A redirect could lead the token elsewhere, and none of these requests needs one.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Address is where the registry is, for messages.
func (c *Client) Address() string { return c.address.String() }

// Stopped returns why nothing is sent any more; nil while requests are sent.
func (c *Client) Stopped() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopped
}

func (c *Client) stop(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped == nil {
		c.stopped = &StoppedError{Address: c.address.String(), Reason: err}
	}
	return c.stopped
}

// count notes how a request ended, for the circuit breaker.
func (c *Client) count(failed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !failed {
		c.failed = 0
		return
	}
	c.failed++
	if c.failed >= breakerLimit && c.stopped == nil {
		c.stopped = &StoppedError{Address: c.address.String(), Reason: fmt.Errorf("%d requests in a row failed", c.failed)}
	}
}

// request is one of the few that the pruner sends.
type request struct {
	method, path string
	query        string
	body         string
	// accept is what the answer may be; JSON if it is empty.
	accept string
	// anonymous requests carry no token.
	anonymous bool
}

// answer is what came back, read up to a limit.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request until it has an answer that is worth something: after 408, 423, 429, 5xx and trouble of
// the network it is sent again. The error is about the last attempt.
func (c *Client) do(ctx context.Context, r request) (*answer, error) {
	if err := c.Stopped(); err != nil {
		return nil, err
	}
	got, err := c.repeat(ctx, r)
	if ctx.Err() == nil || err == nil {
		c.count(err != nil || isFailure(got.status))
	}
	return got, err
}

func (c *Client) repeat(ctx context.Context, r request) (got *answer, err error) {
	wait := firstWait
	for attempt := 1; ; attempt++ {
		got, err = c.authorized(ctx, r)
		var tokenErr *TokenError
		if attempt == attempts || errors.As(err, &tokenErr) || permanent(err) || err == nil && !temporary(got.status) {
			return got, err
		}
		pause := wait/2 + rand.N(wait/2+1)
		if got != nil {
			pause = max(pause, retryAfter(got.header, c.options.Clock.Now()))
		}
		wait *= 2
		select {
		case <-ctx.Done():
			return got, errors.Join(err, ctx.Err())
		case <-c.options.Clock.After(pause):
		}
	}
}

// authorized sends a request with the token of this moment. A token that is refused is fetched anew once.
func (c *Client) authorized(ctx context.Context, r request) (*answer, error) {
	if r.anonymous {
		return c.send(ctx, r, "")
	}
	token, err := c.options.Tokens.Token(ctx, false)
	if err != nil {
		return nil, &TokenError{Err: err}
	}
	got, err := c.send(ctx, r, token)
	if err != nil || got.status != http.StatusUnauthorized {
		return got, err
	}
	if token, err = c.options.Tokens.Token(ctx, true); err != nil {
		return nil, &TokenError{Err: err}
	}
	return c.send(ctx, r, token)
}

func (c *Client) send(ctx context.Context, r request, token string) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	target := c.address
	target.Path, target.RawQuery = r.path, r.query
	var body io.Reader
	if r.body != "" {
		body = strings.NewReader(r.body)
	}
	httpRequest, err := http.NewRequestWithContext(ctx, r.method, target.String(), body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.method, r.path, err)
	}
	if r.body != "" {
		httpRequest.Header.Set("Content-Type", "application/json")
	}
	httpRequest.Header.Set("User-Agent", c.options.UserAgent)
	httpRequest.Header.Set("Accept", cmp.Or(r.accept, "application/json"))
	if token != "" {
		httpRequest.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := c.http.Do(httpRequest)
	if err != nil {
		return nil, c.explained(r, err)
	}
	defer response.Body.Close()
	got := &answer{status: response.StatusCode, header: response.Header}
	limit := int64(maxErrorBody)
	if got.status < 300 {
		limit = maxReport
	}
	got.body, err = io.ReadAll(io.LimitReader(response.Body, limit+1))
	switch {
	case err != nil && got.status < 300:
		return nil, c.explained(r, err)
	case int64(len(got.body)) > limit && got.status < 300:
		return nil, fmt.Errorf("%s %s: the answer is larger than %d bytes: %w", r.method, r.path, limit, errTooLarge)
	case int64(len(got.body)) > limit:
		got.body = got.body[:limit]
	}
	got.conceal(token)
	return got, nil
}

// conceal takes a token out of what goes into errors and reports: what answers may be no registry but
// something that repeats what it was asked.
func (a *answer) conceal(token string) {
	if token == "" {
		return
	}
	a.body = bytes.ReplaceAll(a.body, []byte(token), []byte(concealed))
	if location := a.header.Get("Location"); strings.Contains(location, token) {
		a.header.Set("Location", strings.ReplaceAll(location, token, concealed))
	}
}

// explained says what was asked, without the URL of the client library, and adds a hint.
func (c *Client) explained(r request, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return fmt.Errorf("%s %s%s: %w%s", r.method, c.address.String(), r.path, err, hint(err))
}

var errTooLarge = errors.New("too large")

// permanent errors do not go away by repetition.
func permanent(err error) bool {
	return errors.Is(err, errTooLarge) || errors.Is(err, context.Canceled) || isCertificate(err) || isPlainHTTP(err)
}
