package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	reviewTimeout   = 10 * time.Second
	tokenCacheSize  = 4096
	accessCacheSize = 16384
)

// Errors of Authenticate; everything else is a review that could not be made.
var (
	// ErrNoCredentials: the request has no Authorization header.
	ErrNoCredentials = errors.New("no credentials")
	// ErrInvalidCredentials: the header cannot be used or the token was rejected.
	ErrInvalidCredentials = errors.New("invalid credentials")
)

// Options of an Authenticator and an Authorizer.
type Options struct {
	// Anonymous allows requests with the anonymous token.
	Anonymous bool
	// Audience is the registry's own token audience; empty switches it off.
	Audience string
	// Lifetimes of results; zero disables a cache.
	TokenTTL, TokenFailureTTL, AllowTTL, DenyTTL time.Duration
	// OIDC verifies what the API does not accept, when its issuer made it; may be nil.
	OIDC Verifier
	// Now is the clock.
	Now func() time.Time
	// Observer may be nil.
	Observer Observer
}

// Validate checks the options.
func (o Options) Validate() error {
	if o.Now == nil {
		return fmt.Errorf("auth options: no clock")
	}
	if o.TokenTTL < 0 || o.TokenFailureTTL < 0 || o.AllowTTL < 0 || o.DenyTTL < 0 {
		return fmt.Errorf("auth options: negative lifetime")
	}
	return nil
}

// Authenticator turns credentials into identities.
type Authenticator struct {
	reviewer Reviewer
	options  Options
	cache    *cache[TokenResult]
	// failures is apart, so that a flood of made-up tokens pushes out no good one.
	failures *cache[TokenResult]
	flight   singleflight.Group
	gate     *gate
	// open lets everybody in, also without credentials; see NewOpenAuthenticator.
	open bool
}

// NewAuthenticator returns an Authenticator that asks the reviewer.
func NewAuthenticator(reviewer Reviewer, options Options) (*Authenticator, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	return &Authenticator{reviewer: reviewer, options: options, cache: newCache[TokenResult](tokenCacheSize, options.Now), failures: newCache[TokenResult](tokenCacheSize, options.Now), gate: newGate()}, nil
}

// NewOpenAuthenticator returns an Authenticator for a registry without authentication:
// whoever asks, with whatever header, is the anonymous user.
func NewOpenAuthenticator() *Authenticator { return &Authenticator{open: true} }

// Authenticate reads the Authorization header. It returns ErrNoCredentials,
// ErrInvalidCredentials, or the error of a review that got no answer.
func (a *Authenticator) Authenticate(ctx context.Context, header http.Header) (Identity, error) {
	if a.open {
		return Anonymous(), nil
	}
	value := header.Get("Authorization")
	if value == "" {
		return Identity{}, ErrNoCredentials
	}
	token, ok := Credential(value)
	if !ok {
		return Identity{}, ErrInvalidCredentials
	}
	return a.Token(ctx, token)
}

// Credential returns the token of a Bearer header or the password of a Basic one.
func Credential(header string) (string, bool) {
	scheme, rest, _ := strings.Cut(header, " ")
	rest = strings.TrimSpace(rest)
	switch strings.ToLower(scheme) {
	case "bearer":
		return rest, rest != ""
	case "basic":
		raw, err := base64.StdEncoding.DecodeString(rest)
		if err != nil {
			return "", false
		}
		_, password, found := strings.Cut(string(raw), ":")
		return password, found && password != ""
	}
	return "", false
}

// Token verifies one token.
func (a *Authenticator) Token(ctx context.Context, token string) (Identity, error) {
	if a.open {
		return Anonymous(), nil
	}
	token = strings.TrimSpace(token) // as API servers do
	if token == AnonymousToken {
		if !a.options.Anonymous {
			return Identity{}, ErrInvalidCredentials
		}
		return Anonymous(), nil
	}
	result, err := a.review(ctx, token)
	if err != nil {
		return Identity{}, err
	}
	if !result.Authenticated {
		return Identity{}, ErrInvalidCredentials
	}
	return result.Identity, nil
}

// isToken tells whether a text can be a token. What is empty, or has white space or control
// characters inside, is none: API servers stop reading there, so that one token would have
// any number of spellings, each with claims that they and we read differently and with a
// place of its own in the cache.
func isToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c == 0x7f })
}

func (a *Authenticator) review(ctx context.Context, token string) (TokenResult, error) {
	// Whatever else the answer depends on is written in the token itself.
	sum := sha256.Sum256([]byte(token))
	key := string(sum[:])
	if result, ok := known(key, a.cache, a.failures); ok {
		a.observeCache(ResultHit)
		return result, nil
	}
	a.observeCache(ResultMiss)
	if !isToken(token) {
		return TokenResult{}, nil
	}
	parsed, isJWT := parseClaims(token)
	audiences := []string(nil)
	if isJWT && a.options.Audience != "" && parsed.has(a.options.Audience) {
		audiences = []string{a.options.Audience}
	}
	return shared(ctx, &a.flight, a.gate, key, func(ctx context.Context) (TokenResult, error) {
		if result, ok := known(key, a.cache, a.failures); ok { // the same question ended since the look above
			return result, nil
		}
		return a.ask(ctx, token, parsed, audiences, key)
	})
}

// known looks for an answer in caches.
func known[V any](key string, caches ...*cache[V]) (V, bool) {
	for _, kept := range caches {
		if answer, ok := kept.get(key); ok {
			return answer, true
		}
	}
	var none V
	return none, false
}

// ask makes the review and keeps its result, but never longer than the token lives.
func (a *Authenticator) ask(ctx context.Context, token string, parsed claims, audiences []string, key string) (TokenResult, error) {
	start := a.options.Now()
	result, err := a.reviewer.ReviewToken(ctx, token, audiences)
	if err != nil {
		observe(a.options, KindToken, ResultError, start)
		return TokenResult{}, fmt.Errorf("token review: %w", err)
	}
	if len(audiences) > 0 && result.Authenticated && !slices.Contains(result.Audiences, a.options.Audience) {
		result = TokenResult{}
	}
	if !result.Authenticated && a.options.OIDC != nil && parsed.Issuer == a.options.OIDC.Issuer() {
		if result, err = a.verify(ctx, token); err != nil {
			return TokenResult{}, err
		}
	}
	// Also for what an identity provider verified, which may be another cluster: a pull
	// credential stays one wherever it is shown.
	result.Identity.PullOnly = result.Authenticated && len(audiences) > 0 && parsed.Kubernetes.Secret.Name != ""
	result.Identity.sum = result.Identity.key()
	now, ttl := a.options.Now(), a.options.TokenFailureTTL
	outcome, kept := ResultDenied, a.failures
	if result.Authenticated {
		ttl, outcome, kept = a.options.TokenTTL, ResultAllowed, a.cache
	}
	observe(a.options, KindToken, outcome, start)
	until := now.Add(ttl)
	if expiry, ok := parsed.expires(); ok && result.Authenticated && expiry.Before(until) {
		until = expiry
	}
	kept.put(key, result, until)
	return result, nil
}

// verify asks the identity provider's verifier.
func (a *Authenticator) verify(ctx context.Context, token string) (TokenResult, error) {
	identity, err := a.options.OIDC.Verify(ctx, token)
	if errors.Is(err, ErrInvalidCredentials) {
		return TokenResult{}, nil
	}
	if err != nil {
		return TokenResult{}, fmt.Errorf("identity provider: %w", err)
	}
	return TokenResult{Authenticated: true, Identity: identity}, nil
}

func (a *Authenticator) observeCache(result string) {
	if a.options.Observer != nil {
		a.options.Observer.CacheUsed(KindToken, result)
	}
}

func observe(options Options, kind, result string, start time.Time) {
	if options.Observer != nil {
		options.Observer.ReviewDone(kind, result, options.Now().Sub(start))
	}
}

// shared runs the question once for all callers who ask it now, when the gate lets it
// through. The question does not end with the first caller, so that one client that leaves
// does not fail the others.
func shared[V any](ctx context.Context, flight *singleflight.Group, gate *gate, key string, ask func(context.Context) (V, error)) (V, error) {
	var none V
	channel := flight.DoChan(key, func() (_ any, err error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reviewTimeout)
		defer cancel()
		leave, err := gate.enter(ctx)
		if err != nil {
			return none, err
		}
		defer leave()
		// A panic here would end the process: no request's recovery reaches this goroutine.
		defer func() {
			if reason := recover(); reason != nil {
				err = fmt.Errorf("panic in a review: %v\n%s", reason, debug.Stack())
			}
		}()
		return ask(ctx)
	})
	select {
	case <-ctx.Done():
		return none, context.Cause(ctx)
	case result := <-channel:
		if result.Err != nil {
			return none, result.Err
		}
		return result.Val.(V), nil
	}
}
