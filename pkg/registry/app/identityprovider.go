package app

import (
	"fmt"
	"time"

	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/auth/oidc"
	"image.alauda.io/registry/pkg/registry/config"
)

// identityProvider makes the verifier of an issuer, nil when none is configured. Nothing is
// asked before the first of its tokens comes.
func identityProvider(c config.OIDC, now func() time.Time, observer auth.Observer) (auth.Verifier, error) {
	if c.IssuerURL == "" {
		return nil, nil
	}
	verifier, err := oidc.New(oidc.Options{
		IssuerURL: c.IssuerURL, ClientID: c.ClientID, CAFile: c.CAFile,
		UsernameClaim: c.UsernameClaim, UsernamePrefix: c.UsernamePrefix,
		GroupsClaim: c.GroupsClaim, GroupsPrefix: c.GroupsPrefix,
		SigningAlgs: c.SigningAlgs, RequiredClaims: c.RequiredClaims,
		Now: now, Observer: observer,
	})
	if err != nil {
		return nil, fmt.Errorf("alauda.auth.%w", err)
	}
	return verifier, nil
}
