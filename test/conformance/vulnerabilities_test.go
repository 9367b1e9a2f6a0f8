package conformance

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/test/secondregistry"

	"github.com/go-jose/go-jose/v4"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Behaviour 92a: the published vulnerabilities of registries, one test each, against the HTTP surface.
func TestVulnerabilities(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"CVE-2017-11468 the body of a manifest is read without limit":           manifestWithoutEnd,
		"CVE-2021-41190 one document is a manifest to some and an index others": ambiguousDocuments,
		"CVE-2023-2253 the catalog allocates as many entries as are asked for":  catalogOfBillions,
		"CVE-2025-24976 a token is checked with the key that it brings":         tokenWithItsKey,
		"CVE-2026-33540 credentials go to the realm that a source names":        realmOfAnotherHost,
		"CVE-2026-35172 a cache makes a deleted blob readable again":            deletedBlobInCache,
		"CVE-2026-41888 a tag is deleted although deletes are switched off":     tagDeleteReadOnly,
	} {
		t.Run(name, test)
	}
}

// endless is a manifest that never ends; it counts what was taken.
type endless struct{ taken atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.taken.Add(int64(len(p)))
	return len(p), nil
}

func manifestWithoutEnd(t *testing.T) {
	e := start(t)
	for _, length := range []int64{-1, 1 << 40} {
		body := &endless{}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, e.URL+"/v2/team/app/manifests/v1", body)
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = length
		r.Header.Set("Authorization", "Bearer "+devToken)
		r.Header.Set("Content-Type", ociManifest)
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatalf("length %d: %v", length, err)
		}
		_ = answer.Body.Close()
		// What is on the way fills the buffers of both systems, too.
		if answer.StatusCode != http.StatusRequestEntityTooLarge || body.taken.Load() > 64<<20 {
			t.Errorf("length %d: status %d after %d bytes", length, answer.StatusCode, body.taken.Load())
		}
	}
}

func ambiguousDocuments(t *testing.T) {
	e := start(t)
	config := descriptor(ociConfig, []byte("{}"))
	e.pushBlob(repo, []byte("{}"))
	documents := map[string]string{
		"manifests and layers": `{"schemaVersion":2,"config":` + config + `,"layers":[],"manifests":[]}`,
		"manifests and config": `{"schemaVersion":2,"config":` + config + `,"manifests":[]}`,
		"layers of an index":   `{"schemaVersion":2,"layers":[],"manifests":[]}`,
		"in other letters":     `{"schemaVersion":2,"config":` + config + `,"layers":[],"Manifests":[` + config + `]}`,
		"letters that fold":    `{"schemaVersion":2,"config":` + config + `,"layers":[],"manifeſts":[` + config + `]}`,
		"a digest in others":   `{"schemaVersion":2,"config":` + strings.Replace(config, "}", `,"Digest":"`+digestOf(nil)+`"}`, 1) + `,"layers":[]}`,
		"twice":                `{"schemaVersion":2,"config":` + config + `,"layers":[],"manifests":[],"manifests":null}`,
		"typed as the other":   `{"schemaVersion":2,"mediaType":"` + ociIndex + `","config":` + config + `,"layers":[]}`,
	}
	for name, document := range documents {
		for _, mediaType := range []string{ociManifest, ociIndex, dockerType, ""} {
			answer := e.putManifest(repo, "v1", []byte(document), mediaType)
			if answer.StatusCode != http.StatusBadRequest {
				t.Errorf("%s as %q: status %d", name, mediaType, answer.StatusCode)
			}
		}
	}
	plain := `{"schemaVersion":2,"config":` + config + `,"layers":[]}`
	e.putManifest(repo, "v1", []byte(plain), ociIndex).want(400, "MANIFEST_INVALID")
	e.putManifest(repo, "v1", []byte(`{"schemaVersion":2,"manifests":[]}`), ociManifest).want(400, "MANIFEST_INVALID")
	e.putManifest(repo, "v1", []byte(plain), ociManifest).want(201)
}

func catalogOfBillions(t *testing.T) {
	e := start(t)
	e.pushImage(repo, "v1", "x")
	for _, path := range []string{"/v2/_catalog", "/v2/team/app/tags/list"} {
		for _, n := range []string{"2000000000", "9223372036854775807", "99999999999999999999999"} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			answer := e.get(path + "?n=" + n)
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; answer.StatusCode != http.StatusOK || used > 64<<20 {
				t.Errorf("%s of %s entries: status %d, %d bytes allocated", path, n, answer.StatusCode, used)
			}
		}
	}
}

// tokenWithItsKey tries the places of a token in which a key, or the way to one, can be.
func tokenWithItsKey(t *testing.T) {
	own, foreign := ecKey(t), ecKey(t)
	var asked atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(elsewhere.Close)
	var issuer *httptest.Server
	issuer = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var document any = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: own.Public(), KeyID: "one", Algorithm: "ES256", Use: "sig"}}}
		if r.URL.Path == "/.well-known/openid-configuration" {
			document = map[string]any{"issuer": issuer.URL, "jwks_uri": issuer.URL + "/keys"}
		}
		_ = json.NewEncoder(w).Encode(document)
	}))
	t.Cleanup(issuer.Close)
	authority := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	e := start(t, "ALAUDA=, auth: {oidc: {issuerurl: '"+issuer.URL+"', clientid: registry, cafile: '"+authority+"', usernameprefix: '-', usernameclaim: sub, signingalgs: [ES256]}}")
	raw := e.pushImage(repo, "v1", "x")
	e.reviewer.AllowRepository("jane", "team", "", "get")
	claims := map[string]any{"iss": issuer.URL, "aud": "registry", "sub": "jane", "exp": e.clock.Now().Unix() + 600, "iat": e.clock.Now().Unix()}
	token := func(key *ecdsa.PrivateKey, header map[jose.HeaderKey]any) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, &jose.SignerOptions{ExtraHeaders: header})
		if err != nil {
			t.Fatal(err)
		}
		payload, _ := json.Marshal(claims)
		signed, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		compact, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return compact
	}
	pull := call{method: "GET", path: "/v2/team/app/manifests/" + digestOf(raw)}
	pull.token = token(own, map[jose.HeaderKey]any{"kid": "one"})
	e.do(pull).want(200) // so that the others are refused for their keys alone
	brought := jose.JSONWebKey{Key: foreign.Public(), KeyID: "one", Algorithm: "ES256", Use: "sig"}
	for name, header := range map[string]map[jose.HeaderKey]any{
		"jwk": {"jwk": brought}, "jwk and kid": {"jwk": brought, "kid": "one"}, "kid": {"kid": "one"}, "nothing": nil,
		"jku": {"jku": elsewhere.URL, "kid": "two"}, "x5u": {"x5u": elsewhere.URL, "kid": "one"},
	} {
		pull.token = token(foreign, header)
		if answer := e.do(pull); answer.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: status %d", name, answer.StatusCode)
		}
	}
	if asked.Load() != 0 {
		t.Error("the registry asked where the token told it to")
	}
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func realmOfAnotherHost(t *testing.T) {
	e := start(t, reachable)
	var seen atomic.Int64
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20)); r.Header.Get("Authorization") != "" || bytes.Contains(body, []byte("hunter2")) || bytes.Contains([]byte(r.URL.String()), []byte("hunter2")) {
			seen.Add(1)
		}
	}))
	t.Cleanup(thief.Close)
	realm := strings.Replace(thief.URL, "127.0.0.1", "localhost", 1) + "/token"
	source := secondregistry.Start(t, secondregistry.Options{Users: map[string]string{"puller": "hunter2"}, Tokens: true, Realm: realm})
	raw := []byte(`{"schemaVersion":2,"mediaType":"` + ociManifest + `","config":` + descriptor(ociConfig, []byte("{}")) + `,"layers":[]}`)
	source.PushBlob(t, "private/app", ociConfig, []byte("{}"))
	d := source.PushManifest(t, "private/app", "v1", ociManifest, raw)
	e.api.AddSecret("team", login("pull", source.Host, "puller", "hunter2"))
	e.add(imported{repository: "team/copy", tag: "v1", source: source, path: "private/app", insecure: true, image: v1.Descriptor{MediaType: ociManifest, Digest: d.Digest, Size: int64(len(raw))}})
	if answer := e.get("/v2/team/copy/manifests/v1"); answer.StatusCode == http.StatusOK {
		t.Error("the manifest came without a login")
	}
	if len(source.Requests()) == 0 {
		t.Fatal("the source was never asked, so nothing is shown")
	}
	if seen.Load() != 0 {
		t.Error("the credentials went to the realm of another host")
	}
}

func deletedBlobInCache(t *testing.T) {
	e := start(t)
	content := []byte("to be deleted")
	path := "/v2/team/app/blobs/" + e.pushBlob(repo, content)
	for range 3 { // whatever remembers it does so now
		e.get(path).want(200)
		e.head(path).want(200)
	}
	e.remove(path).want(202)
	e.head(path).want(404)
	e.get(path).want(404, "BLOB_UNKNOWN")
	e.get(path, "Range", "bytes=0-1").want(404, "BLOB_UNKNOWN")
	e.do(call{method: "POST", path: "/v2/team/other/blobs/uploads/?from=team/app&mount=" + digestOf(content)}).want(202)
	e.do(call{method: "POST", path: "/v2/team/other/blobs/uploads/?mount=" + digestOf(content)}).want(202)
}

func tagDeleteReadOnly(t *testing.T) {
	writable := start(t)
	raw := writable.pushImage(repo, "v1", "x")
	e := startOn(t, writable.driver, "READONLY=true")
	e.reviewer.Allow("dev", auth.Prune())
	stream, err := writable.api.Stream(t.Context(), appName)
	if err != nil {
		t.Fatal(err)
	}
	e.api.AddStream(stream)
	blob := digestOf([]byte("layer of x"))
	for _, path := range []string{"manifests/v1", "manifests/" + digestOf(raw), "blobs/" + blob, "manifests/" + digestOf(raw) + "?onlyunreferenced=true"} {
		e.remove("/v2/team/app/"+path).want(405, "UNSUPPORTED")
	}
	e.get("/v2/team/app/manifests/v1").want(200)
	e.get("/v2/team/app/manifests/" + digestOf(raw)).want(200)
	e.get("/v2/team/app/blobs/" + blob).want(200)
}
