package conformance

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/auth/authtest"

	"github.com/go-jose/go-jose/v4"
)

// Behaviour 58.
func TestTokensOfAnIdentityProvider(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	var down atomic.Bool
	down.Store(true)
	var issuer *httptest.Server
	issuer = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		var document any = map[string]string{"issuer": issuer.URL, "jwks_uri": issuer.URL + "/keys"}
		if r.URL.Path == "/keys" {
			document = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "RS256", Use: "sig"}}}
		}
		if err := json.NewEncoder(w).Encode(document); err != nil {
			t.Error(err)
		}
	}))
	defer issuer.Close()
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	token := func(subject, audience string, life time.Duration) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := json.Marshal(map[string]any{"iss": issuer.URL, "sub": subject, "aud": audience, "exp": time.Now().Add(life).Unix(), "groups": []string{"dev"}})
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		text, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	e := start(t, `ALAUDA=, auth: {oidc: {issuerurl: "`+issuer.URL+`", clientid: registry, cafile: "`+ca+`", usernameprefix: "idp:"}}`)
	e.reviewer.AllowRepository("idp:jane", "team", "", "get", "update")
	ask := func(text string) *reply {
		return e.do(call{method: "GET", path: "/v2/team/app/tags/list", token: text})
	}

	jane := token("jane", "registry", time.Hour)
	ask(jane).want(503, "UNAVAILABLE").header("Retry-After", "5")
	e.get("/v2/").want(200) // others are not concerned
	down.Store(false)
	e.clock.Step(10 * time.Second)
	e.do(call{method: "POST", path: "/v2/team/app/blobs/uploads/", token: jane}).want(202)
	if message := ask(token("bob", "registry", time.Hour)).want(403, "DENIED").message(); !strings.Contains(message, `user "idp:bob"`) {
		t.Errorf("message %q", message)
	}
	ask(token("jane", "elsewhere", time.Hour)).want(401, "UNAUTHORIZED")
	ask(token("jane", "registry", -time.Hour)).want(401, "UNAUTHORIZED")
	down.Store(true)
	e.clock.Step(15 * time.Minute)
	ask(token("bob", "registry", 2*time.Hour)).want(403) // with the keys that are known
	metrics, err := e.registry.Metrics.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	results := map[string]bool{}
	for _, family := range metrics {
		if family.GetName() != "imageregistry_auth_reviews_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			labels := map[string]string{}
			for _, label := range metric.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			if labels["kind"] == auth.KindOIDC {
				results[labels["result"]] = true
			}
		}
	}
	if !results["allowed"] || !results["denied"] || !results["error"] {
		t.Errorf("counted %v", results)
	}
}

// What the platform says of its identity provider may be incomplete; the registry starts all
// the same.
//
// Behaviour 58.
func TestAnIncompleteIdentityProviderKeepsNobodyFromPulling(t *testing.T) {
	for what, test := range map[string]struct {
		settings string
		status   int
	}{
		"no client":       {`issuerurl: "https://issuer.test"`, 401},
		"plain HTTP":      {`issuerurl: "http://issuer.test", clientid: x`, 401},
		"a CA to come":    {`issuerurl: "https://issuer.test", clientid: x, cafile: /does/not/exist`, 503},
		"nobody is there": {`issuerurl: "https://127.0.0.1:1", clientid: x`, 503},
	} {
		e := start(t, "ALAUDA=, auth: {oidc: {"+test.settings+"}}")
		e.get("/v2/").want(200)
		_, issuer, _ := strings.Cut(test.settings, `"`)
		issuer, _, _ = strings.Cut(issuer, `"`)
		foreign := authtest.JWT(map[string]any{"iss": issuer})
		if answer := e.do(call{method: "GET", path: "/v2/", token: foreign}); answer.StatusCode != test.status {
			t.Errorf("%s: status %d, want %d", what, answer.StatusCode, test.status)
		}
	}
}
