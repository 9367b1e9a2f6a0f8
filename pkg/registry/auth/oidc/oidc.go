// Package oidc verifies tokens of one OpenID Connect issuer.
//
// In goes a token whose claim iss names the issuer; out comes the identity that
// kube-apiserver would make of it with the same settings, so that RoleBindings for its
// users hold for both. Keys come from the key set that the issuer's discovery document
// names and from nowhere else: what a token carries about its own key (jwk, jku, x5c,
// x5u) is never used. Only the configured asymmetric algorithms are accepted.
//
// Nothing is fetched before the first token, and the issuer is asked at most once per
// ten seconds whatever is presented. A token that cannot be judged, because the keys
// could not be had, is an error of its own and never "wrong".
//
// Distributed claims are not followed. No token and no claim is put into an error that
// is kept, and nothing is logged.
package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"image.alauda.io/registry/pkg/registry/auth"

	"github.com/go-jose/go-jose/v4"
)

const (
	// leeway is how much the clocks of issuer and registry may differ for nbf.
	leeway = 5 * time.Minute

	authenticatedGroup = "system:authenticated"
	emailClaim         = "email"
)

// algorithms are those that may be configured: signatures with a public key. HMAC would
// make a key of what everybody can read, and "none" is none.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// Options of a Verifier.
type Options struct {
	// IssuerURL is the issuer, https; ClientID the audience of its tokens.
	IssuerURL, ClientID string
	// CAFile are PEM certificates that the issuer is trusted by, in place of the system's.
	// It is read again with every request to the issuer, because it may be renewed.
	CAFile string
	// UsernameClaim, UsernamePrefix, GroupsClaim and GroupsPrefix have the meaning of the
	// flags of kube-apiserver: without a prefix for names the issuer and "#" are put before
	// every claim but email, "-" stands for no prefix. GroupsPrefix is used as it is.
	UsernameClaim, UsernamePrefix string
	GroupsClaim, GroupsPrefix     string
	// SigningAlgs are the accepted algorithms.
	SigningAlgs []string
	// RequiredClaims must be in the token with exactly these texts.
	RequiredClaims map[string]string
	// Now is the clock.
	Now func() time.Time
	// Observer may be nil.
	Observer auth.Observer
}

// Validate checks the options; it reads no file.
func (o Options) Validate() error {
	issuer, err := url.Parse(o.IssuerURL)
	switch {
	case o.Now == nil:
		return fmt.Errorf("oidc: no clock")
	case err != nil || issuer.Scheme != "https" || issuer.Host == "" || issuer.User != nil || strings.ContainsAny(o.IssuerURL, "?#"):
		return fmt.Errorf("oidc: issuerurl must be an https URL without user, query and fragment")
	case o.ClientID == "":
		return fmt.Errorf("oidc: clientid must be set: without it tokens for any other service of the issuer would be accepted")
	case o.UsernameClaim == "":
		return fmt.Errorf("oidc: usernameclaim must be set")
	case len(o.SigningAlgs) == 0:
		return fmt.Errorf("oidc: signingalgs must name at least one algorithm")
	}
	for _, name := range o.SigningAlgs {
		if !slices.Contains(algorithms, jose.SignatureAlgorithm(name)) {
			return fmt.Errorf("oidc: signingalgs: %q is not one of %v", name, algorithms)
		}
	}
	return nil
}

// Verifier verifies the tokens of one issuer.
type Verifier struct {
	options    Options
	algorithms []jose.SignatureAlgorithm
	keys       *keySet
	issuer     *issuer
}

var _ auth.Verifier = (*Verifier)(nil)

// New returns a Verifier. It fails for wrong options; the issuer is not asked, and the CA
// file may come later.
func New(options Options) (*Verifier, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	issuer := &issuer{url: options.IssuerURL, caFile: options.CAFile}
	v := &Verifier{options: options, issuer: issuer, keys: &keySet{fetch: issuer.keys, now: options.Now}}
	for _, name := range options.SigningAlgs {
		v.algorithms = append(v.algorithms, jose.SignatureAlgorithm(name))
	}
	return v, nil
}

// CheckCA tells whether the CA file can be used at the moment.
func (v *Verifier) CheckCA() error {
	_, err := v.issuer.client()
	return err
}

// Issuer implements auth.Verifier.
func (v *Verifier) Issuer() string { return v.options.IssuerURL }

// Verify implements auth.Verifier. A token that is wrong gives auth.ErrInvalidCredentials
// with the reason; any other error means that it could not be judged.
func (v *Verifier) Verify(ctx context.Context, token string) (auth.Identity, error) {
	start := v.options.Now()
	identity, err := v.verify(ctx, token)
	if observer := v.options.Observer; observer != nil {
		result := auth.ResultAllowed
		switch {
		case errors.Is(err, auth.ErrInvalidCredentials):
			result = auth.ResultDenied
		case err != nil:
			result = auth.ResultError
		}
		observer.ReviewDone(auth.KindOIDC, result, v.options.Now().Sub(start))
	}
	return identity, err
}

func (v *Verifier) verify(ctx context.Context, token string) (auth.Identity, error) {
	signed, err := jose.ParseSignedCompact(token, v.algorithms)
	if err != nil {
		return auth.Identity{}, invalid("it is no token signed with one of %v", v.options.SigningAlgs)
	}
	header := signed.Signatures[0].Header
	keys, err := v.keys.find(ctx, header.KeyID, jose.SignatureAlgorithm(header.Algorithm))
	if err != nil {
		return auth.Identity{}, fmt.Errorf("keys of issuer %s: %w", v.options.IssuerURL, err)
	}
	for _, key := range keys {
		// The key is handed over bare: nothing of the token's header takes part in the choice.
		if payload, err := signed.Verify(key); err == nil {
			return v.identity(payload)
		}
	}
	return auth.Identity{}, invalid("its signature fits no key of the issuer")
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: token of the identity provider: "+format, append([]any{auth.ErrInvalidCredentials}, args...)...)
}
