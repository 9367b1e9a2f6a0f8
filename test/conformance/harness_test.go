// Package conformance drives a whole registry over HTTP: real handlers, server, TLS
// left out, with a storage and an image API in memory and a reviewer that the test
// rules. It checks the OCI distribution API as clients see it.
package conformance

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/app"
	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/auth/authtest"
	"image.alauda.io/registry/pkg/registry/config"
	"image.alauda.io/registry/pkg/registry/imageapi/imageapitest"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"go.uber.org/zap"
	testingclock "k8s.io/utils/clock/testing"
)

const (
	serverAddr  = "registry.test:5000"
	devToken    = "dev-token"
	otherToken  = "other-token"
	prunerToken = "pruner-token"

	ociManifest = "application/vnd.oci.image.manifest.v1+json"
	ociIndex    = "application/vnd.oci.image.index.v1+json"
	ociConfig   = "application/vnd.oci.image.config.v1+json"
	ociLayer    = "application/vnd.oci.image.layer.v1.tar"
	dockerType  = "application/vnd.docker.distribution.manifest.v2+json"
)

// env is a running registry. The user dev may do everything in the namespace team, the
// user other in the namespace elsewhere, the user pruner may delete images.
type env struct {
	*httptest.Server
	t        testing.TB
	api      *imageapitest.API
	reviewer *authtest.Reviewer
	driver   driver.StorageDriver
	clock    *testingclock.FakeClock
	registry *app.Registry
	waited   time.Duration
}

func start(t testing.TB, settings ...string) *env { return startOn(t, inmemory.New(), settings...) }

func startOn(t testing.TB, storage driver.StorageDriver, settings ...string) *env {
	t.Helper()
	return startWith(t, storage, func(*app.Dependencies) {}, settings...)
}

// startWith lets a test change what the registry talks to.
func startWith(t testing.TB, storage driver.StorageDriver, change func(*app.Dependencies), settings ...string) *env {
	t.Helper()
	raw := "version: 0.1\nstorage: {inmemory: {}, maintenance: {readonly: {enabled: READONLY}}}\nhttp: {secret: shared HTTP}\nalauda: {server: {addr: '" + serverAddr + "'} ALAUDA}\n"
	values := map[string]string{"READONLY": "false", "HTTP": "", "ALAUDA": ""}
	for _, setting := range settings {
		key, value, _ := strings.Cut(setting, "=")
		values[key] = value
	}
	for key, value := range values {
		raw = strings.ReplaceAll(raw, key, value)
	}
	c, _, err := config.Parse([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	e := &env{t: t, reviewer: &authtest.Reviewer{}, driver: storage, clock: testingclock.NewFakeClock(time.Now())}
	e.api = imageapitest.New(serverAddr, e.clock.Now)
	deps := app.Dependencies{
		API: e.api, Reviewer: e.reviewer, Driver: storage, Log: zap.NewNop(), Now: e.clock.Now,
		Wait: func(_ context.Context, delay time.Duration) error { e.waited += delay; return nil },
	}
	change(&deps)
	e.registry, err = app.Build(t.Context(), c, deps)
	if err != nil {
		t.Fatal(err)
	}
	e.registry.Health.Report(nil)
	for user, token := range map[string]string{"dev": devToken, "other": otherToken, "pruner": prunerToken} {
		e.reviewer.AddToken(token, auth.Identity{Username: user})
	}
	for user, namespace := range map[string]string{"dev": "team", "other": "elsewhere"} {
		e.api.AddNamespace(namespace)
		e.reviewer.AllowRepository(user, namespace, "", "get", "update", "delete")
		e.reviewer.Allow(user, auth.Attributes{Verb: "delete", Group: "image.alauda.io", Resource: "imagestreamtags", Namespace: namespace})
		e.reviewer.Allow(user, auth.Attributes{Verb: "list", Group: "image.alauda.io", Resource: "imagestreams", Namespace: namespace})
	}
	e.reviewer.Allow("pruner", auth.Prune())
	t.Cleanup(e.registry.PullThrough.Stop)
	e.Server = httptest.NewServer(e.registry.Server)
	t.Cleanup(e.Close)
	return e
}

// call is one request.
type call struct {
	method, path string
	body         []byte
	header       map[string]string
	token        string
	// stream sends the body without a Content-Length.
	stream bool
}

// reply is the answer with its body.
type reply struct {
	*http.Response
	body []byte
	t    testing.TB
	name string
}

func (e *env) do(c call) *reply {
	e.t.Helper()
	var body io.Reader
	if c.body != nil {
		body = bytes.NewReader(c.body)
		if c.stream {
			body = io.MultiReader(body)
		}
	}
	path := c.path
	if !strings.HasPrefix(path, "http") {
		path = e.URL + path
	}
	r, err := http.NewRequestWithContext(e.t.Context(), c.method, path, body)
	if err != nil {
		e.t.Fatal(err)
	}
	switch c.token {
	case "":
		r.Header.Set("Authorization", "Bearer "+devToken)
	case "none":
	default:
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	for key, value := range c.header {
		r.Header.Set(key, value)
	}
	// Connections are kept like those of real clients: only then net/http closes gently after a refusal that was
	// written before the body was read.
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(r)
	if err != nil {
		e.t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // everything was read
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return &reply{Response: answer, body: raw, t: e.t, name: c.method + " " + c.path}
}

// want checks the status, and the code and form of an error.
func (r *reply) want(status int, code ...string) *reply {
	r.t.Helper()
	if r.StatusCode != status {
		r.t.Fatalf("%s: status %d, want %d; body %s", r.name, r.StatusCode, status, r.body)
	}
	if len(code) > 0 {
		if got := r.codes(); len(got) == 0 || got[0] != code[0] {
			r.t.Fatalf("%s: codes %v, want %s; body %s", r.name, got, code[0], r.body)
		}
	}
	return r
}

type errorBody struct {
	Errors []struct {
		Code    string
		Message string
		Detail  any
	}
}

func (r *reply) parsed() errorBody {
	r.t.Helper()
	var body errorBody
	decoder := json.NewDecoder(bytes.NewReader(r.body))
	if err := decoder.Decode(&body); err != nil {
		r.t.Fatalf("%s: body %q is no error document: %v", r.name, r.body, err)
	}
	if decoder.More() {
		r.t.Fatalf("%s: more than one document: %s", r.name, r.body)
	}
	return body
}

func (r *reply) codes() (codes []string) {
	for _, entry := range r.parsed().Errors {
		codes = append(codes, entry.Code)
	}
	return codes
}

func (r *reply) message() string { return r.parsed().Errors[0].Message }

// header checks one header.
func (r *reply) header(name, want string) *reply {
	r.t.Helper()
	if got := r.Header.Get(name); got != want {
		r.t.Errorf("%s: %s is %q, want %q", r.name, name, got, want)
	}
	return r
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// pushBlob uploads content in one request and returns its digest.
func (e *env) pushBlob(repo string, content []byte, token ...string) string {
	e.t.Helper()
	d := digestOf(content)
	e.do(call{method: "POST", path: "/v2/" + repo + "/blobs/uploads/?digest=" + d, body: content, token: strings.Join(token, "")}).want(201)
	return d
}

// image returns an OCI manifest whose blobs are in the repository.
func (e *env) image(repo, text string, extra ...string) []byte {
	e.t.Helper()
	config := []byte(fmt.Sprintf(`{"architecture":"amd64","os":"linux","author":%q}`, text))
	layer := []byte("layer of " + text)
	e.pushBlob(repo, config)
	e.pushBlob(repo, layer)
	return []byte(fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,%s"config":%s,"layers":[%s]}`, ociManifest, strings.Join(extra, ""),
		descriptor(ociConfig, config), descriptor(ociLayer, layer)))
}

func descriptor(mediaType string, content []byte) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, digestOf(content), len(content))
}

func indexOf(children ...[]byte) []byte {
	var list []string
	for _, child := range children {
		list = append(list, descriptor(ociManifest, child))
	}
	return []byte(fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, ociIndex, strings.Join(list, ",")))
}

func (e *env) putManifest(repo, reference string, raw []byte, mediaType string) *reply {
	e.t.Helper()
	return e.do(call{method: "PUT", path: "/v2/" + repo + "/manifests/" + reference, body: raw, header: map[string]string{"Content-Type": mediaType}})
}

// pushImage pushes an image under a tag and returns its bytes.
func (e *env) pushImage(repo, tag, text string, extra ...string) []byte {
	e.t.Helper()
	raw := e.image(repo, text, extra...)
	e.putManifest(repo, tag, raw, ociManifest).want(201)
	return raw
}

func (e *env) get(path string, header ...string) *reply {
	e.t.Helper()
	return e.do(call{method: "GET", path: path, header: pairs(header)})
}

func (e *env) head(path string) *reply { return e.do(call{method: "HEAD", path: path}) }

func (e *env) remove(path string) *reply { return e.do(call{method: "DELETE", path: path}) }

func pairs(list []string) map[string]string {
	m := map[string]string{}
	for i := 0; i+1 < len(list); i += 2 {
		m[list[i]] = list[i+1]
	}
	return m
}
