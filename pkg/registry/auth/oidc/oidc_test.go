package oidc

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/auth"

	"github.com/go-jose/go-jose/v4"
)

func accepted(t *testing.T, what string, v *Verifier, token string) auth.Identity {
	t.Helper()
	identity, err := v.Verify(t.Context(), token)
	if err != nil {
		t.Errorf("%s: %v, want the user", what, err)
	}
	return identity
}

func refused(t *testing.T, what string, v *Verifier, token string) {
	t.Helper()
	identity, err := v.Verify(t.Context(), token)
	if !errors.Is(err, auth.ErrInvalidCredentials) {
		t.Errorf("%s: user %q, error %v, want it refused", what, identity.Username, err)
	}
	if err != nil && len(token) > 3 && strings.Contains(err.Error(), token) {
		t.Errorf("%s: the error has the token: %v", what, err)
	}
}

func undecided(t *testing.T, what string, v *Verifier, token string) {
	t.Helper()
	if identity, err := v.Verify(t.Context(), token); err == nil || errors.Is(err, auth.ErrInvalidCredentials) {
		t.Errorf("%s: user %q, error %v, want an error that is no refusal", what, identity.Username, err)
	}
}

// Behaviour 58.
func TestNamesAndGroupsAreThoseOfKubeAPIServer(t *testing.T) {
	p := newProvider(t)
	p.publish("one", jose.RS256, rsaKey())
	tests := map[string]struct {
		change func(*Options)
		claims map[string]any
		name   string
		groups []string
	}{
		"no prefixes":           {func(*Options) {}, nil, p.server.URL + "#jane", []string{"dev", "ops", "system:authenticated"}},
		"both prefixes":         {func(o *Options) { o.UsernamePrefix, o.GroupsPrefix = "idp:", "idp-group:" }, nil, "idp:jane", []string{"idp-group:dev", "idp-group:ops", "system:authenticated"}},
		"a dash for no prefix":  {func(o *Options) { o.UsernamePrefix, o.GroupsPrefix = "-", "-" }, nil, "jane", []string{"-dev", "-ops", "system:authenticated"}},
		"e-mail without prefix": {func(o *Options) { o.UsernameClaim = "email" }, map[string]any{"email": "j@example.test"}, "j@example.test", nil},
		"e-mail with a prefix":  {func(o *Options) { o.UsernameClaim, o.UsernamePrefix = "email", "x:" }, map[string]any{"email": "j@example.test", "email_verified": true}, "x:j@example.test", nil},
		"one group as text":     {func(*Options) {}, map[string]any{"groups": "dev"}, p.server.URL + "#jane", []string{"dev", "system:authenticated"}},
		"no groups":             {func(*Options) {}, map[string]any{"groups": nil}, p.server.URL + "#jane", []string{"system:authenticated"}},
		"groups switched off":   {func(o *Options) { o.GroupsClaim = "" }, nil, p.server.URL + "#jane", []string{"system:authenticated"}},
		"several audiences":     {func(*Options) {}, map[string]any{"aud": []string{"x", clientID}}, p.server.URL + "#jane", nil},
		"a required claim":      {func(o *Options) { o.RequiredClaims = map[string]string{"tenant": "a"} }, map[string]any{"tenant": "a"}, p.server.URL + "#jane", nil},
	}
	for what, test := range tests {
		got := accepted(t, what, p.verifier(test.change), p.token(test.claims))
		if got.Username != test.name || test.groups != nil && !slices.Equal(got.Groups, test.groups) || got.PullOnly {
			t.Errorf("%s: %+v, want %s with %v", what, got, test.name, test.groups)
		}
	}
}

// Behaviour 58.
func TestTokensThatAreNotGood(t *testing.T) {
	p := newProvider(t)
	p.publish("one", jose.RS256, rsaKey())
	plain, mail := func(*Options) {}, func(o *Options) { o.UsernameClaim = "email" }
	required := func(o *Options) { o.RequiredClaims = map[string]string{"tenant": "a"} }
	now := p.clock.Now()
	for what, test := range map[string]struct {
		change func(*Options)
		claims map[string]any
	}{
		"another issuer":              {plain, map[string]any{"iss": "https://elsewhere.test"}},
		"no issuer":                   {plain, map[string]any{"iss": nil}},
		"another audience":            {plain, map[string]any{"aud": "elsewhere"}},
		"no audience":                 {plain, map[string]any{"aud": nil}},
		"audience of another kind":    {plain, map[string]any{"aud": map[string]string{clientID: clientID}}},
		"expired":                     {plain, map[string]any{"exp": now.Unix()}},
		"without an end":              {plain, map[string]any{"exp": nil}},
		"an end as text":              {plain, map[string]any{"exp": "9999999999"}},
		"an absurd end":               {plain, map[string]any{"exp": 1e300}},
		"not yet":                     {plain, map[string]any{"nbf": now.Add(time.Hour).Unix()}},
		"an odd beginning":            {plain, map[string]any{"nbf": "now"}},
		"without a name":              {plain, map[string]any{"sub": nil}},
		"an empty name":               {plain, map[string]any{"sub": ""}},
		"a name that is a list":       {plain, map[string]any{"sub": []string{"jane"}}},
		"groups of another kind":      {plain, map[string]any{"groups": map[string]bool{"dev": true}}},
		"groups with a number":        {plain, map[string]any{"groups": []any{"dev", 1}}},
		"groups with null":            {plain, map[string]any{"groups": []any{"dev", nil}}},
		"unverified e-mail":           {mail, map[string]any{"email": "j@example.test", "email_verified": false}},
		"verification that is text":   {mail, map[string]any{"email": "j@example.test", "email_verified": "true"}},
		"a required claim is missing": {required, nil},
		"a required claim differs":    {required, map[string]any{"tenant": "b"}},
		"a required claim is a list":  {required, map[string]any{"tenant": []string{"a"}}},
	} {
		refused(t, what, p.verifier(test.change), p.token(test.claims))
	}
	v := p.verifier()
	for what, token := range map[string]string{
		"no token": "", "text": "abc", "two parts": "a.b", "dots": "...", "another key": sign(t, jose.RS256, otherKey(), id("one"), p.claims(nil)),
		"another algorithm": sign(t, jose.RS512, rsaKey(), id("one"), p.claims(nil)), "no algorithm": unsigned(t, p.claims(nil)),
		"no object": sign(t, jose.RS256, rsaKey(), id("one"), []string{"x"}),
	} {
		refused(t, what, v, token)
	}
	good := p.token(nil)
	parts := strings.Split(good, ".")
	forged := p.token(map[string]any{"sub": "admin"})
	refused(t, "another payload", v, parts[0]+"."+strings.Split(forged, ".")[1]+"."+parts[2])
	refused(t, "without its signature", v, parts[0]+"."+parts[1]+".")
	accepted(t, "the token itself", v, good)
}

// CVE-2025-24976 and its kin: whoever brings a token must not bring its key.
//
// Behaviour 58.
func TestKeysInTheTokenAreNeverUsed(t *testing.T) {
	p := newProvider(t)
	p.publish("one", jose.RS256, rsaKey())
	foreign := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a key was fetched from where the token says")
	}))
	defer foreign.Close()
	v := p.verifier()
	own := jose.JSONWebKey{Key: otherKey().Public(), KeyID: "one", Algorithm: "RS256", Use: "sig"}
	for what, header := range map[string]map[jose.HeaderKey]any{
		"jwk":                 {"jwk": own},
		"jwk with a known id": {"jwk": own, "kid": "one"},
		"jku":                 {"jku": foreign.URL, "kid": "one"},
		"x5u":                 {"x5u": foreign.URL, "kid": "one"},
		"unknown id and jwk":  {"jwk": own, "kid": "mine"},
	} {
		refused(t, what, v, sign(t, jose.RS256, otherKey(), header, p.claims(nil)))
	}
	// The public key as the secret of an HMAC.
	public, err := jose.JSONWebKey{Key: rsaKey().Public()}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	refused(t, "HMAC", v, sign(t, jose.HS256, public, id("one"), p.claims(nil)))
}

// Behaviour 58.
func TestKeysAreFetchedLateAndSeldom(t *testing.T) {
	p := newProvider(t)
	p.set(func() { p.down = true })
	p.publish("one", jose.RS256, rsaKey())
	seen := &observer{}
	v := p.verifier(func(o *Options) { o.Observer = seen })
	if p.asked() != 0 {
		t.Errorf("the issuer was asked %d times before the first token", p.asked())
	}
	undecided(t, "the issuer is down from the start", v, p.token(nil))
	p.set(func() { p.down = false })
	undecided(t, "within ten seconds", v, p.token(nil))
	p.clock.Step(fetchPause)
	accepted(t, "ten seconds later", v, p.token(nil))

	before := p.asked()
	for range 20 {
		accepted(t, "again", v, p.token(nil))
		refused(t, "an unknown key id", v, sign(t, jose.RS256, otherKey(), id("made up"), p.claims(nil)))
	}
	if p.asked() != before {
		t.Errorf("%d requests to the issuer within ten seconds", p.asked()-before)
	}
	p.clock.Step(fetchPause)
	p.publish("two", "", ecKey())
	rotated := sign(t, jose.ES256, ecKey(), id("two"), p.claims(nil))
	accepted(t, "a new key", v, rotated)

	p.set(func() { p.down = true })
	p.clock.Step(keysFresh)
	accepted(t, "a known key while the issuer is down", v, p.token(nil))
	undecided(t, "an unknown key while the issuer is down", v, sign(t, jose.RS256, otherKey(), id("three"), p.claims(nil)))
	p.clock.Step(keysUsable)
	undecided(t, "a known key after a day without issuer", v, p.token(nil))

	p.set(func() { p.down, p.keys = false, p.keys[1:] })
	p.clock.Step(fetchPause)
	refused(t, "a key that was withdrawn", v, p.token(nil))
	if seen.results["oidc allowed"] == 0 || seen.results["oidc denied"] == 0 || seen.results["oidc error"] == 0 {
		t.Errorf("observed %v", seen.results)
	}
}

func TestOneFetchForAllWhoWait(t *testing.T) {
	p := newProvider(t)
	p.publish("one", jose.RS256, rsaKey())
	v, token := p.verifier(), p.token(nil)
	var group sync.WaitGroup
	for range 30 {
		group.Go(func() {
			if _, err := v.Verify(t.Context(), token); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if p.asked() != 2 {
		t.Errorf("%d requests, want one for each document", p.asked())
	}
}

func TestTokenWithoutKeyIDIsComparedWithAllKeys(t *testing.T) {
	p := newProvider(t)
	p.publish("a", "", ecKey())
	p.publish("b", "", otherKey())
	p.publish("c", "", rsaKey())
	accepted(t, "the third key", p.verifier(), sign(t, jose.RS256, rsaKey(), nil, p.claims(nil)))
}

func TestOddIssuers(t *testing.T) {
	redirect := func(to func(p *provider) string) func(p *provider) {
		return func(p *provider) {
			p.discovery = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to(p), http.StatusFound) }
		}
	}
	answer := func(document func(p *provider) any) func(p *provider) {
		return func(p *provider) {
			p.discovery = func(w http.ResponseWriter, _ *http.Request) { p.send(w, document(p)) }
		}
	}
	for what, change := range map[string]func(p *provider){
		"another issuer in the document": answer(func(p *provider) any {
			return map[string]string{"issuer": p.server.URL + "/", "jwks_uri": p.server.URL + "/keys"}
		}),
		"keys over plain HTTP": answer(func(p *provider) any {
			return map[string]string{"issuer": p.server.URL, "jwks_uri": "http" + strings.TrimPrefix(p.server.URL, "https") + "/keys"}
		}),
		"keys without an address":    answer(func(p *provider) any { return map[string]string{"issuer": p.server.URL} }),
		"a redirect to another host": redirect(func(p *provider) string { return "https://127.0.0.2:1/" }),
		"a redirect to plain HTTP":   redirect(func(p *provider) string { return "http" + strings.TrimPrefix(p.server.URL, "https") + wellKnown }),
		"redirects without end":      redirect(func(p *provider) string { return p.server.URL + wellKnown }),
		"a document without end": func(p *provider) {
			p.discovery = func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(`{"issuer":"` + strings.Repeat("x", maxDocument)))
			}
		},
		"no JSON": func(p *provider) {
			p.keySet = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }
		},
		"no keys": func(p *provider) { p.keys = nil },
		"a secret among the keys": func(p *provider) {
			p.keys = []jose.JSONWebKey{{Key: []byte("0123456789abcdef0123456789abcdef"), KeyID: "one"}}
		},
		"keys for encryption only": func(p *provider) { p.keys[0].Use = "enc" },
		"keys of an unknown kind": func(p *provider) {
			p.keySet = func(w http.ResponseWriter, _ *http.Request) {
				p.send(w, map[string]any{"keys": []any{map[string]string{"kty": "new", "kid": "one"}, 7, nil}})
			}
		},
	} {
		p := newProvider(t)
		p.publish("one", jose.RS256, rsaKey())
		change(p)
		undecided(t, what, p.verifier(), p.token(nil))
	}

	p := newProvider(t)
	p.publish("one", jose.RS256, rsaKey())
	p.keySet = func(w http.ResponseWriter, _ *http.Request) {
		p.send(w, map[string]any{"keys": []any{map[string]string{"kty": "new"}, p.keys[0]}})
	}
	accepted(t, "an unknown kind beside a good key", p.verifier(), p.token(nil))
}

func TestAnIssuerThatIsNotTrustedIsNotAsked(t *testing.T) {
	p := newProvider(t)
	p.publish("one", jose.RS256, rsaKey())
	undecided(t, "without its CA", p.verifier(func(o *Options) { o.CAFile = "" }), p.token(nil))
	if p.asked() != 0 {
		t.Error("the issuer was asked")
	}
	// The file is read with every fetch, because it may be renewed.
	v := p.verifier()
	good, err := os.ReadFile(p.caFile)
	if err != nil {
		t.Fatal(err)
	}
	write := func(raw []byte) {
		if err := os.WriteFile(p.caFile, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write([]byte("broken"))
	if v.CheckCA() == nil {
		t.Error("a broken file was taken for good")
	}
	undecided(t, "with a broken file", v, p.token(nil))
	write(good)
	if err := v.CheckCA(); err != nil {
		t.Error(err)
	}
	p.clock.Step(fetchPause)
	accepted(t, "with the file repaired", v, p.token(nil))
}

func TestOptionsAreChecked(t *testing.T) {
	p := newProvider(t)
	for what, change := range map[string]func(*Options){
		"plain HTTP": func(o *Options) { o.IssuerURL = "http://issuer.test" }, "a query": func(o *Options) { o.IssuerURL += "?a=b" },
		"a user": func(o *Options) { o.IssuerURL = "https://a:b@issuer.test" }, "no host": func(o *Options) { o.IssuerURL = "https://" },
		"no client": func(o *Options) { o.ClientID = "" }, "no name": func(o *Options) { o.UsernameClaim = "" },
		"no algorithm": func(o *Options) { o.SigningAlgs = nil }, "none": func(o *Options) { o.SigningAlgs = []string{"none"} },
		"HMAC": func(o *Options) { o.SigningAlgs = []string{"RS256", "HS256"} }, "no clock": func(o *Options) { o.Now = nil },
	} {
		options := p.options()
		change(&options)
		if _, err := New(options); err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
}

// FuzzVerify looks for tokens that crash the verifier or are accepted without a signature.
//
// Behaviour 58.
func FuzzVerify(f *testing.F) {
	p := newProvider(f)
	p.publish("one", jose.RS256, rsaKey())
	v := p.verifier()
	good := p.token(nil)
	for _, seed := range []string{good, unsigned(f, p.claims(nil)), "..", "a.b.c", "eyJhbGciOiJSUzI1NiJ9..", strings.Repeat("a", 70_000), "{}", `{"payload":"","signatures":[{}]}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		identity, err := v.Verify(t.Context(), token)
		if err == nil && (identity.Username != p.server.URL+"#jane" || !strings.HasPrefix(token, strings.Join(strings.Split(good, ".")[:2], "."))) {
			t.Errorf("%q is accepted as %q", token, identity.Username)
		}
	})
}

// FuzzClaims looks for payloads that crash the reading of claims.
func FuzzClaims(f *testing.F) {
	p := newProvider(f)
	v := p.verifier(func(o *Options) { o.UsernameClaim = "email" })
	for _, seed := range []string{`{}`, `null`, `[]`, `{"aud":[null],"exp":1e999}`, `{"iss":null,"email":"\ud800","email_verified":1}`, `{"groups":[[]]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if identity, err := v.identity(payload); err == nil && identity.Username == "" {
			t.Errorf("%q is a user without a name", payload)
		}
	})
}
