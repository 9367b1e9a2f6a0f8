package app

import (
	"fmt"
	"strings"

	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/auth/oidc"
	"image.alauda.io/registry/pkg/registry/config"

	"go.uber.org/zap"
)

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
