package conformance

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"

	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/auth/authtest"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func objectMeta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

// Behaviours 1, 2 and 4.
func TestRoutes(t *testing.T) {
	e := startWith(t, inmemory.New(), withSignatures)
	for _, path := range []string{"/v2", "/v2/"} {
		answer := e.get(path).want(200).header("Docker-Distribution-Api-Version", "registry/2.0").header("X-Registry-Supports-Signatures", "1")
		if string(answer.body) != "{}" {
			t.Errorf("%s: %q", path, answer.body)
		}
	}
	e.get("/v2/a/tags/list").want(400, "NAME_INVALID")
	e.get("/v2/a%2Fb/tags/list").want(400, "NAME_INVALID")
	e.get("/v2/team/unknown/thing").want(404, "UNSUPPORTED")
	e.get("/admin/blobs/"+digestOf(nil)).want(405, "UNSUPPORTED").header("Allow", "DELETE")
	e.get("/admin/unknown/"+digestOf(nil)).want(404, "UNSUPPORTED")
	e.do(call{method: "POST", path: "/v2/team/app/tags/list"}).want(405, "UNSUPPORTED").header("Allow", "GET")
	e.do(call{method: "GET", path: "/v2/team/app/blobs/uploads/"}).want(405, "UNSUPPORTED").header("Allow", "POST")
	e.get("/v2/team/app/blobs/uploads/%2e%2e").want(404, "BLOB_UPLOAD_UNKNOWN")
	e.pushImage("team/blobs", "v1", "x")
	e.pushImage("team/manifests", "v1", "x")
	e.get("/v2/team/blobs/manifests/v1").want(200)
	e.get("/v2/team/manifests/tags/list").want(200)
}

// Behaviours 53 to 57.
func TestAuthentication(t *testing.T) {
	e := start(t)
	raw := e.pushImage(repo, "v1", "x")
	realm := `Bearer realm="` + e.URL + `/alauda/token",service="image-registry"`
	as := func(method, path, token string) *reply { return e.do(call{method: method, path: path, token: token}) }
	as("GET", "/v2/", "none").want(401, "UNAUTHORIZED").header("WWW-Authenticate", realm)
	pull := "/v2/team/app/manifests/v1"
	scope := `,scope="repository:team/app:pull"`
	as("GET", pull, "none").want(401).header("WWW-Authenticate", realm+scope)
	as("GET", pull, "bad").want(401).header("WWW-Authenticate", realm+scope+`,error="invalid_token"`)
	as("GET", pull, "anonymous").want(401).header("WWW-Authenticate", realm+scope+`,error="insufficient_scope"`)
	as("GET", "/v2/", "anonymous").want(200)
	denied := as("GET", pull, otherToken).want(403, "DENIED").header("WWW-Authenticate", "")
	if denied.message() != `user "other" cannot get imagestreams/layers "team/app"` {
		t.Errorf("message %q", denied.message())
	}
	e.reviewer.AllowRepository("system:anonymous", "team", "app", "get")
	e.clock.Step(10 * time.Second)
	as("GET", pull, "anonymous").want(200)

	secret := map[string]any{"aud": []string{"image-registry.alauda.io"}, "kubernetes.io": map[string]any{"secret": map[string]any{"name": "default-registry-pull"}}}
	account := auth.Identity{Username: "system:serviceaccount:team:default"}
	bound, unbound := authtest.JWT(secret), authtest.JWT(map[string]any{"aud": "image-registry.alauda.io"})
	for _, token := range []string{bound, unbound} {
		e.reviewer.AddToken(token, account, "image-registry.alauda.io")
	}
	e.reviewer.AllowRepository(account.Username, "team", "", "get", "update", "delete")
	as("GET", pull, bound).want(200)
	as("GET", "/v2/", bound).want(200)
	as("GET", "/v2/team/app/blobs/"+digestOf([]byte("layer of x")), bound).want(200)
	for _, c := range [][2]string{{"POST", "/v2/team/app/blobs/uploads/"}, {"DELETE", "/v2/team/app/manifests/" + digestOf(raw)}, {"GET", "/v2/_catalog"}, {"GET", "/metrics"}} {
		answer := as(c[0], c[1], bound).want(403, "DENIED")
		if !strings.Contains(answer.message(), "this is a pull credential and cannot") || !strings.Contains(answer.message(), "kubectl create token default -n team") {
			t.Errorf("message %q", answer.message())
		}
	}
	as("POST", "/v2/team/app/blobs/uploads/", unbound).want(202)
	e.reviewer.Fail(errors.New("connection refused"))
	e.clock.Step(time.Hour)
	as("GET", pull, devToken).want(503, "UNAVAILABLE").header("Retry-After", "5")
}

// Behaviours 53 and 61.
func TestTokenEndpoint(t *testing.T) {
	e := start(t)
	decode := func(r *reply) (body struct {
		Token       string
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
		Scope       string
	}) {
		t.Helper()
		if err := json.Unmarshal(r.body, &body); err != nil {
			t.Fatal(err)
		}
		return body
	}
	anonymous := e.do(call{method: "GET", path: "/alauda/token?service=x&scope=bad", token: "none"}).want(200).header("Cache-Control", "no-store")
	if body := decode(anonymous); body.Token != "anonymous" || body.ExpiresIn != 60 {
		t.Errorf("anonymous: %+v", body)
	}
	if body := decode(e.get("/alauda/token").want(200)); body.Token != devToken || body.AccessToken != devToken {
		t.Errorf("bearer: %+v", body)
	}
	for seconds, want := range map[int]int{10: 60, 120: 120, 900: 300} {
		token := authtest.JWT(map[string]any{"exp": e.clock.Now().Add(time.Duration(seconds) * time.Second).Unix(), "n": seconds})
		e.reviewer.AddToken(token, auth.Identity{Username: "dev"})
		if body := decode(e.do(call{method: "GET", path: "/alauda/token", token: token}).want(200)); body.ExpiresIn < want-1 || body.ExpiresIn > want {
			t.Errorf("%d seconds of life: expires_in %d, want %d", seconds, body.ExpiresIn, want)
		}
	}
	post := func(form string) *reply {
		return e.do(call{method: "POST", path: "/alauda/token", token: "none", body: []byte(form)})
	}
	if body := decode(post("grant_type=password&username=x&password=" + devToken + "&scope=s").want(200)); body.Token != devToken || body.Scope != "s" {
		t.Errorf("password: %+v", body)
	}
	post("grant_type=refresh_token&refresh_token=" + devToken).want(200)
	post("grant_type=password&password=bad").want(401).header("WWW-Authenticate", `Basic realm="image-registry"`)
	post("grant_type=code").want(400)
	post(strings.Repeat("x", 65<<10)).want(413)
	e.do(call{method: "PUT", path: "/alauda/token"}).want(405).header("Allow", "GET, POST")
	closed := start(t, "ALAUDA=, auth: {anonymous: false}")
	closed.do(call{method: "GET", path: "/alauda/token", token: "none"}).want(401).header("WWW-Authenticate", `Basic realm="image-registry"`)
	closed.do(call{method: "GET", path: "/v2/", token: "anonymous"}).want(401)
}

// Behaviour 88. CVE-2026-41888.
func TestReadOnly(t *testing.T) {
	writable := start(t)
	raw := writable.pushImage(repo, "v1", "x")
	e := startOn(t, writable.driver, "READONLY=true")
	for method, path := range map[string]string{"POST": "blobs/uploads/", "PUT": "manifests/v2", "DELETE": "manifests/v1"} {
		e.do(call{method: method, path: "/v2/team/app/" + path, body: []byte("x")}).want(405, "UNSUPPORTED")
	}
	e.get("/v2/team/app/manifests/" + digestOf(raw)).want(200)
	e.head("/v2/team/app/blobs/" + digestOf([]byte("layer of x"))).want(200)
}

// Behaviours 64 and 92.
func TestMetricsAndHealth(t *testing.T) {
	e := start(t, "ALAUDA=, metrics: {secret: scrape}")
	e.pushImage(repo, "v1", "x")
	text := string(e.do(call{method: "GET", path: "/extensions/v2/metrics", token: "scrape"}).want(200).body)
	for _, want := range []string{`imageregistry_http_requests_total{code="201",method="PUT",route="manifest"} 1`, "imageregistry_build_info", `imageregistry_auth_reviews_total{kind="token",result="allowed"} 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	e.get("/metrics").want(403, "DENIED")
	e.do(call{method: "GET", path: "/metrics", token: "none"}).want(401)
	e.reviewer.Allow("other", auth.Attributes{Verb: "get", Path: "/metrics"})
	e.do(call{method: "GET", path: "/metrics", token: otherToken}).want(200)
	for _, path := range []string{"/", "/livez", "/readyz", "/healthz"} {
		e.do(call{method: "GET", path: path, token: "none"}).want(200).header("Cache-Control", "no-cache")
	}
	for range 3 {
		e.registry.Health.Report(errors.New("disk is gone"))
	}
	e.get("/readyz").want(503)
	e.get("/livez").want(200)
	e.get("/v2/").want(200)
	e.registry.Health.Report(nil)
	e.get("/readyz").want(200)
}

// Behaviour 99, with one client library.
func TestPushAndPullWithALibrary(t *testing.T) {
	e := start(t)
	host := strings.TrimPrefix(e.URL, "http://")
	login := remote.WithAuth(&authn.Basic{Username: "anyone", Password: devToken})
	image, err := random.Image(2000, 3)
	if err != nil {
		t.Fatal(err)
	}
	index, err := random.Index(1000, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(host+"/team/library:v1", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	multi := tag.Tag("multi")
	if err := remote.Write(tag, image, login); err != nil {
		t.Fatalf("push image: %v", err)
	}
	if err := remote.WriteIndex(multi, index, login); err != nil {
		t.Fatalf("push index: %v", err)
	}
	pulled, err := remote.Image(tag, login)
	if err != nil {
		t.Fatalf("pull image: %v", err)
	}
	layers, err := pulled.Layers()
	if err != nil || len(layers) != 3 {
		t.Fatalf("layers %d, %v", len(layers), err)
	}
	want, _ := image.Digest()
	if got, err := pulled.Digest(); err != nil || got != want {
		t.Errorf("digest %s, %v; want %s", got, err, want)
	}
	pulledIndex, err := remote.Index(multi, login)
	if err != nil {
		t.Fatalf("pull index: %v", err)
	}
	if got, _ := pulledIndex.Digest(); got.String() == "" {
		t.Error("the index has no digest")
	}
	if err := remote.Write(tag, image, remote.WithAuth(&authn.Basic{Username: "x", Password: otherToken})); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("push without permission: %v", err)
	}
	if tags, err := remote.List(tag.Repository, login); err != nil || len(tags) != 2 {
		t.Errorf("tags %v, %v", tags, err)
	}
}

// discard is a ResponseWriter without a connection.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// BenchmarkBlobGET shows what one download of 1 MiB allocates in the registry.
func BenchmarkBlobGET(b *testing.B) {
	e := start(b)
	benchmarkBlob(b, e, make([]byte, 1<<20))
}

func benchmarkBlob(b *testing.B, e *env, content []byte) {
	path := "/v2/team/app/blobs/" + e.pushBlob(repo, content)
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, e.URL+path, http.NoBody)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+devToken)
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		e.registry.Server.ServeHTTP(&discard{http.Header{}}, r.Clone(b.Context()))
	}
}
