package auth_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/auth/authtest"

	testingclock "k8s.io/utils/clock/testing"
)

// provider is a verifier that answers what the test says.
type provider struct {
	err   error
	asked int
}

func (p *provider) Issuer() string { return "https://issuer.test" }

func (p *provider) Verify(context.Context, string) (auth.Identity, error) {
	p.asked++
	return auth.Identity{Username: "jane", Groups: []string{"dev"}}, p.err
}

// Behaviour 58.
func TestIdentityProviderComesAfterTheCluster(t *testing.T) {
	clock := testingclock.NewFakeClock(time.Unix(1700000000, 0))
	reviewer, idp := &authtest.Reviewer{}, &provider{}
	authenticator, err := auth.NewAuthenticator(reviewer, auth.Options{
		Audience: ownAudience, OIDC: idp, Now: clock.Now, TokenTTL: time.Minute, TokenFailureTTL: 10 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	issued := func(n int, claims map[string]any) string {
		claims["iss"], claims["n"] = idp.Issuer(), n
		return authtest.JWT(claims)
	}
	ask := func(what, token, user string, refusal bool) {
		t.Helper()
		got, err := authenticator.Token(t.Context(), token)
		if got.Username != user || errors.Is(err, auth.ErrInvalidCredentials) != refusal || user == "" && err == nil {
			t.Errorf("%s: user %q and %v, want %q", what, got.Username, err, user)
		}
		if got.PullOnly {
			t.Errorf("%s: pull only", what)
		}
	}
	known := issued(1, map[string]any{})
	reviewer.AddToken(known, auth.Identity{Username: "from the cluster"})
	ask("a token that the cluster knows", known, "from the cluster", false)
	ask("a token of another issuer", authtest.JWT(map[string]any{"iss": "https://issuer.test/"}), "", true)
	ask("no JSON Web Token", "opaque", "", true)
	if idp.asked != 0 {
		t.Errorf("the provider was asked %d times for what is none of its business", idp.asked)
	}

	ask("its own", issued(2, map[string]any{"aud": ownAudience}), "jane", false)
	// The provider may be another cluster, whose pull credentials are no better than ours.
	bound := issued(6, map[string]any{"aud": ownAudience, "kubernetes.io": map[string]any{"secret": map[string]any{"name": "x"}}})
	for range 2 {
		if got, err := authenticator.Token(t.Context(), bound); err != nil || got.Username != "jane" || !got.PullOnly {
			t.Errorf("a pull credential of another cluster: %+v, %v", got, err)
		}
	}

	short := issued(3, map[string]any{"exp": clock.Now().Add(20 * time.Second).Unix()})
	ask("a token with 20 seconds left", short, "jane", false)
	before := idp.asked
	ask("again, out of the cache", short, "jane", false)
	clock.Step(20 * time.Second)
	idp.err = fmt.Errorf("%w: expired", auth.ErrInvalidCredentials)
	ask("after its end", short, "", true)
	if idp.asked != before+1 {
		t.Errorf("the provider was asked %d times, want once", idp.asked-before)
	}

	other := issued(4, map[string]any{})
	idp.err = errors.New("the issuer does not answer")
	ask("nobody knows", other, "", false)
	idp.err = nil
	ask("at once after that", other, "jane", false)

	reviewer.Fail(errors.New("the cluster does not answer"))
	ask("without the cluster", issued(5, map[string]any{}), "", false)
}
