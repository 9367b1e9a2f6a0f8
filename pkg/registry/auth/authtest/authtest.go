// Package authtest is a reviewer in memory for tests of the registry.
//
// Tokens and permissions are entered by the test; the reviewer counts what it is
// asked and can be made to fail or to wait. Tokens of the registry's own audience are
// made by JWT, unsigned, because the reviewer is what verifies them.
package authtest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"sync"

	"image.alauda.io/registry/pkg/registry/auth"
)

// Reviewer implements auth.Reviewer. The zero value knows nobody.
type Reviewer struct {
	mu     sync.Mutex
	tokens map[string]token
	rules  map[string][]auth.Attributes
	err    error
	gate   chan struct{}

	tokenReviews  int
	accessReviews []auth.Attributes
}

type token struct {
	identity  auth.Identity
	audiences []string
}

// AddToken makes a token good for an identity. No audiences means the API server's.
func (r *Reviewer) AddToken(text string, identity auth.Identity, audiences ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tokens == nil {
		r.tokens = map[string]token{}
	}
	r.tokens[text] = token{identity, audiences}
}

// Allow lets a user do something; empty fields of the attributes allow every value.
func (r *Reviewer) Allow(user string, attributes auth.Attributes) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rules == nil {
		r.rules = map[string][]auth.Attributes{}
	}
	r.rules[user] = append(r.rules[user], attributes)
}

// AllowRepository gives the verbs on imagestreams/layers.
func (r *Reviewer) AllowRepository(user, namespace, stream string, verbs ...string) {
	for _, verb := range verbs {
		r.Allow(user, auth.Layers(verb, namespace, stream))
	}
}

// Revoke removes all permissions of a user.
func (r *Reviewer) Revoke(user string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.rules, user)
}

// Fail makes every review fail, until it is called with nil.
func (r *Reviewer) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// Hold makes reviews wait until the returned function is called.
func (r *Reviewer) Hold() (release func()) {
	gate := make(chan struct{})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gate = gate
	return func() { close(gate) }
}

// TokenReviews is the number of token reviews so far.
func (r *Reviewer) TokenReviews() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tokenReviews
}

// AccessReviews are the attributes of all access reviews so far.
func (r *Reviewer) AccessReviews() []auth.Attributes {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.accessReviews)
}

// ReviewToken implements auth.Reviewer.
func (r *Reviewer) ReviewToken(ctx context.Context, text string, audiences []string) (auth.TokenResult, error) {
	if err := r.wait(ctx); err != nil {
		return auth.TokenResult{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tokenReviews++
	if r.err != nil {
		return auth.TokenResult{}, r.err
	}
	known, ok := r.tokens[text]
	if !ok {
		return auth.TokenResult{}, nil
	}
	if len(audiences) == 0 {
		return auth.TokenResult{Authenticated: len(known.audiences) == 0, Identity: known.identity}, nil
	}
	var common []string
	for _, audience := range audiences {
		if slices.Contains(known.audiences, audience) {
			common = append(common, audience)
		}
	}
	return auth.TokenResult{Authenticated: len(common) > 0, Identity: known.identity, Audiences: common}, nil
}

// ReviewAccess implements auth.Reviewer.
func (r *Reviewer) ReviewAccess(ctx context.Context, identity auth.Identity, attributes auth.Attributes) (auth.Decision, error) {
	if err := r.wait(ctx); err != nil {
		return auth.Decision{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.accessReviews = append(r.accessReviews, attributes)
	if r.err != nil {
		return auth.Decision{}, r.err
	}
	allowed := slices.ContainsFunc(r.rules[identity.Username], func(rule auth.Attributes) bool {
		return covers(rule, attributes)
	})
	return auth.Decision{Allowed: allowed}, nil
}

func (r *Reviewer) wait(ctx context.Context) error {
	r.mu.Lock()
	gate := r.gate
	r.mu.Unlock()
	if gate == nil {
		return nil
	}
	select {
	case <-gate:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// covers compares the fields that must be equal and those that a rule may leave open.
func covers(rule, asked auth.Attributes) bool {
	open := func(rule, asked string) bool { return rule == "" || rule == asked }
	return rule.Verb == asked.Verb && rule.Group == asked.Group && rule.Resource == asked.Resource &&
		rule.Subresource == asked.Subresource && rule.Path == asked.Path &&
		open(rule.Namespace, asked.Namespace) && open(rule.Name, asked.Name)
}

// JWT makes an unsigned JSON Web Token with the claims.
func JWT(claims map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		return ""
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode(payload) + "." + encode([]byte("signature"))
}
