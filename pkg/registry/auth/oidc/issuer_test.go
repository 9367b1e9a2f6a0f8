package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/auth"

	"github.com/go-jose/go-jose/v4"
	testingclock "k8s.io/utils/clock/testing"
)

const clientID = "registry-users"

// provider is an identity provider in the test process.
type provider struct {
	t      testing.TB
	server *httptest.Server
	caFile string
	clock  *testingclock.FakeClock

	mu       sync.Mutex
	keys     []jose.JSONWebKey
	down     bool
	requests int
	// Replacements of the documents; nil for the right ones.
	discovery, keySet http.HandlerFunc
}

func newProvider(t testing.TB) *provider {
	p := &provider{t: t, clock: testingclock.NewFakeClock(time.Now())}
	mux := http.NewServeMux()
	mux.HandleFunc(wellKnown, p.serve(func(w http.ResponseWriter, r *http.Request) {
		if p.discovery != nil {
			p.discovery(w, r)
			return
		}
		p.send(w, map[string]string{"issuer": p.server.URL, "jwks_uri": p.server.URL + "/keys"})
	}))
	mux.HandleFunc("/keys", p.serve(func(w http.ResponseWriter, r *http.Request) {
		if p.keySet != nil {
			p.keySet(w, r)
			return
		}
		p.send(w, jose.JSONWebKeySet{Keys: p.keys})
	}))
	p.server = httptest.NewTLSServer(mux)
	t.Cleanup(p.server.Close)
	p.caFile = filepath.Join(t.TempDir(), "ca.crt")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw}
	if err := os.WriteFile(p.caFile, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *provider) serve(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.requests++
		if p.down {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		next(w, r)
	}
}

func (p *provider) send(w http.ResponseWriter, document any) {
	if err := json.NewEncoder(w).Encode(document); err != nil {
		p.t.Error(err)
	}
}

// set changes the provider while it runs.
func (p *provider) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *provider) asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests
}

// publish makes the public half of a key one of the provider's.
func (p *provider) publish(id string, algorithm jose.SignatureAlgorithm, key crypto.Signer) {
	p.set(func() {
		p.keys = append(p.keys, jose.JSONWebKey{Key: key.Public(), KeyID: id, Algorithm: string(algorithm), Use: "sig"})
	})
}

func (p *provider) options() Options {
	return Options{
		IssuerURL: p.server.URL, ClientID: clientID, CAFile: p.caFile, UsernameClaim: "sub", GroupsClaim: "groups",
		SigningAlgs: []string{"RS256", "ES256"}, Now: p.clock.Now,
	}
}

func (p *provider) verifier(change ...func(*Options)) *Verifier {
	p.t.Helper()
	options := p.options()
	for _, c := range change {
		c(&options)
	}
	v, err := New(options)
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

// claims are those of a good token, with changes; a nil removes a claim.
func (p *provider) claims(changes map[string]any) map[string]any {
	now := p.clock.Now()
	all := map[string]any{
		"iss": p.server.URL, "aud": clientID, "sub": "jane", "groups": []string{"dev", "ops"},
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	maps.Copy(all, changes)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	return all
}

var (
	rsaKey   = sync.OnceValue(newRSAKey)
	otherKey = sync.OnceValue(newRSAKey)
	ecKey    = sync.OnceValue(func() crypto.Signer {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		return key
	})
)

func newRSAKey() crypto.Signer {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

// sign makes a token.
func sign(t testing.TB, algorithm jose.SignatureAlgorithm, key any, header map[jose.HeaderKey]any, claims any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, &jose.SignerOptions{ExtraHeaders: header})
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

func id(text string) map[jose.HeaderKey]any { return map[jose.HeaderKey]any{"kid": text} }

func (p *provider) token(changes map[string]any) string {
	p.t.Helper()
	return sign(p.t, jose.RS256, rsaKey(), id("one"), p.claims(changes))
}

// unsigned makes a token with algorithm none.
func unsigned(t testing.TB, claims any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none","kid":"one"}`)) + "." + encode(payload) + "."
}

// observer counts the outcomes of kind oidc.
type observer struct {
	mu      sync.Mutex
	results map[string]int
}

func (o *observer) ReviewDone(kind, result string, _ time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.results == nil {
		o.results = map[string]int{}
	}
	o.results[kind+" "+result]++
}

func (o *observer) CacheUsed(string, string) {}

var _ auth.Observer = (*observer)(nil)
