package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/auth/oidc"
	"image.alauda.io/registry/pkg/registry/config"
	"image.alauda.io/registry/pkg/registry/handlers"

	"go.uber.org/zap"
)

// catalogTTL is how long it is remembered which namespaces a list of repositories shows.
const catalogTTL = time.Minute

// access makes what tells who a caller is and what is allowed.
func (b *builder) access(context.Context) error {
	settings := b.c.Alauda.Auth
	options := auth.Options{
		Anonymous: settings.Anonymous, Audience: settings.Audience, Now: b.Now, Observer: b.registry.Metrics,
		TokenTTL: settings.Cache.TokenTTL, TokenFailureTTL: settings.Cache.TokenFailureTTL,
		AllowTTL: settings.Cache.AllowTTL, DenyTTL: settings.Cache.DenyTTL,
	}
	access := &b.handlers.Access
	var err error
	if options.OIDC, err = identityProvider(settings.OIDC, b.Dependencies, b.registry.Metrics); err != nil {
		return err
	}
	if access.Authenticator, err = authenticator(b.c, b.Reviewer, options); err != nil {
		return err
	}
	if access.Authorizer, err = auth.NewAuthorizer(b.Reviewer, options); err != nil {
		return err
	}
	if access.Catalog, err = catalogReviews(b.Reviewer, options); err != nil {
		return err
	}
	access.Challenge = auth.Challenge{
		Realm: settings.Realm, Service: settings.Service, TokenRealm: settings.TokenRealm,
		Host: b.c.Configuration.HTTP.Host, ServerAddr: b.c.Alauda.Server.Addr,
	}
	access.MetricsSecret = b.c.Alauda.Metrics.Secret
	return nil
}

// authenticator lets everybody in only where the configuration says auth: none.
func authenticator(c *config.Config, reviewer auth.Reviewer, options auth.Options) (*auth.Authenticator, error) {
	if c.NoAuth() {
		return auth.NewOpenAuthenticator(), nil
	}
	return auth.NewAuthenticator(reviewer, options)
}

// catalogReviews makes the reviews of lists of repositories. They are remembered longer
// than others, unless remembering is switched off.
func catalogReviews(reviewer auth.Reviewer, options auth.Options) (*handlers.Catalog, error) {
	for _, ttl := range []*time.Duration{&options.AllowTTL, &options.DenyTTL} {
		if *ttl > 0 {
			*ttl = max(*ttl, catalogTTL)
		}
	}
	authorizer, err := auth.NewAuthorizer(reviewer, options)
	if err != nil {
		return nil, err
	}
	return handlers.NewCatalog(authorizer), nil
}

// identityProvider makes the verifier of an issuer, nil when there is none. Nothing is asked
// before the first of its tokens comes.
//
// Issuer and client may come from what the platform says of itself, and the CA from a
// ConfigMap that somebody makes later. None of that may keep the registry from starting, so
// what is incomplete is a warning: tokens of the issuer are then not accepted.
func identityProvider(c config.OIDC, deps Dependencies, observer auth.Observer) (auth.Verifier, error) {
	switch {
	case c.IssuerURL == "":
		return nil, nil
	case c.ClientID == "" || !strings.HasPrefix(c.IssuerURL, "https://"):
		deps.Log.Warn("the identity provider is not used: it needs an https issuer and a client id", zap.String("issuer", c.IssuerURL))
		return nil, nil
	}
	verifier, err := oidc.New(oidc.Options{
		IssuerURL: c.IssuerURL, ClientID: c.ClientID, CAFile: c.CAFile,
		UsernameClaim: c.UsernameClaim, UsernamePrefix: c.UsernamePrefix,
		GroupsClaim: c.GroupsClaim, GroupsPrefix: c.GroupsPrefix,
		SigningAlgs: c.SigningAlgs, RequiredClaims: c.RequiredClaims,
		Now: deps.Now, Observer: observer,
	})
	if err != nil {
		return nil, fmt.Errorf("alauda.auth.%w", err)
	}
	if err := verifier.CheckCA(); err != nil {
		deps.Log.Warn("tokens of the identity provider cannot be verified yet", zap.String("issuer", c.IssuerURL), zap.Error(err))
	}
	return verifier, nil
}
