package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// outside makes the process look as if it did not run in a cluster.
func outside(t *testing.T) {
	t.Helper()
	for _, variable := range []string{"KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"} {
		t.Setenv(variable, "")
		if err := os.Unsetenv(variable); err != nil {
			t.Fatal(err)
		}
	}
}

func noAuthConfig(t *testing.T, storage, address string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yml")
	text := fmt.Sprintf("version: 0.1\nauth: none\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\nlog: {accesslog: {disabled: true}}\n"+
		"alauda: {server: {addr: %q}, http: {shutdowndelay: 0s}, audit: {enabled: true}}\n", storage, address, address)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// freeAddress is one of this machine that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return address
}

// served runs the command until stop is called, which returns what it printed.
func served(t *testing.T, config, address string) (stop func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var stdout, stderr bytes.Buffer
	code := make(chan int, 1)
	go func() { code <- Run(ctx, []string{config}, &stdout, &stderr) }()
	deadline := time.Now().Add(20 * time.Second)
	for {
		answer, err := http.Get("http://" + address + "/readyz")
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("not ready: %v %s", err, stderr.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
	return func() string {
		cancel()
		if got := <-code; got != exitOK {
			t.Errorf("code %d: %s", got, stderr.String())
		}
		return stdout.String()
	}
}

// Behaviour 89.
func TestWithoutAuthenticationItIsAPlainRegistry(t *testing.T) {
	outside(t)
	address := freeAddress(t)
	config := noAuthConfig(t, t.TempDir(), address)
	stop := served(t, config, address)
	get := func(path string) (int, string) {
		t.Helper()
		answer, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close() //nolint:errcheck // only read
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Header.Get("X-Registry-Supports-Signatures") != "" {
			t.Errorf("GET %s promises signatures, which nobody keeps", path)
		}
		return answer.StatusCode, strings.TrimSpace(string(body))
	}
	expect := func(path string, status int, text string) {
		t.Helper()
		if gotStatus, got := get(path); gotStatus != status || !strings.Contains(got, text) {
			t.Errorf("GET %s: %d %s, want %d with %s", path, gotStatus, got, status, text)
		}
	}
	expect("/v2/", 200, "{}")
	expect("/v2/_catalog", 200, `"repositories":[]`)
	expect("/v2/team/app/tags/list", 404, "NAME_UNKNOWN")

	image, err := random.Image(2048, 2)
	if err != nil {
		t.Fatal(err)
	}
	index, err := random.Index(1024, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	tag := func(text string) name.Tag {
		parsed, err := name.NewTag(address + "/" + text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	for _, err := range []error{
		remote.Write(tag("team/app:v2"), image), remote.Write(tag("team/app:v1"), image), remote.WriteIndex(tag("other/multi:v1"), index),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	expect("/v2/_catalog", 200, `["other/multi","team/app"]`)
	expect("/v2/team/app/tags/list", 200, `["v1","v2"]`)
	if out := stop(); strings.Count(out, `"operation":"push-manifest"`) < 3 || !strings.Contains(out, `"user":"system:anonymous"`) {
		t.Errorf("audit log %s", out)
	}

	// All there is to know is in the storage.
	stop = served(t, config, address)
	defer stop()
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Image(tag("team/app:v1"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := pulled.Digest(); err != nil || got != digest {
		t.Errorf("pulled %s, %v", got, err)
	}
	if layers, err := pulled.Layers(); err != nil || len(layers) != 2 {
		t.Errorf("%d layers, %v", len(layers), err)
	}
	if err := remote.Delete(tag("team/app:v1")); err != nil {
		t.Error(err)
	}
	expect("/v2/team/app/tags/list", 200, `["v2"]`)
	expect("/v2/team/app/manifests/v1", 404, "MANIFEST_UNKNOWN")
	// What another repository has is not in this one, here as there.
	expect("/v2/other/multi/manifests/"+digest.String(), 404, "MANIFEST_UNKNOWN")
	if err := remote.Delete(tag("team/app:v2").Context().Digest(digest.String())); err != nil {
		t.Error(err)
	}
	expect("/v2/team/app/tags/list", 200, `[]`)
}

// Behaviour 89.
func TestNoAuthenticationIsRefusedBesideACluster(t *testing.T) {
	for what, set := range map[string]func(){
		"a Pod": func() { t.Setenv("KUBERNETES_SERVICE_HOST", "198.18.0.1") }, "a kubeconfig": func() { t.Setenv("KUBECONFIG", "/some/where") },
		"a configured kubeconfig": func() { t.Setenv("REGISTRY_ALAUDA_KUBECONFIG", "/some/where") },
	} {
		outside(t)
		t.Setenv("REGISTRY_ALAUDA_KUBECONFIG", "")
		set()
		var stdout, stderr bytes.Buffer
		config := noAuthConfig(t, t.TempDir(), "127.0.0.1:0")
		if code := Run(t.Context(), []string{config}, &stdout, &stderr); code != exitError || !strings.Contains(stderr.String(), "auth: none is refused") {
			t.Errorf("%s: code %d, %s", what, code, stderr.String())
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		t.Setenv("REGISTRY_ALAUDA_ALLOWNOAUTH", "true")
		stderr.Reset()
		if code := Run(ctx, []string{config}, &stdout, &stderr); code != exitOK {
			t.Errorf("%s, allowed: code %d, %s", what, code, stderr.String())
		}
		t.Setenv("REGISTRY_ALAUDA_ALLOWNOAUTH", "false")
	}
}

// A span of the storage engine belongs to the trace of the request that made it, and what is
// left at the end is sent.
func TestTracesReachACollector(t *testing.T) {
	outside(t)
	var mu sync.Mutex
	var received []byte
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		received = append(received, raw...)
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	stop := served(t, noAuthConfig(t, t.TempDir(), address), address)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/v2/team/app/blobs/uploads/?digest=sha256:"+strings.Repeat("0", 64)+"&_state=hidden", strings.NewReader("abc"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	r.Header.Set("Authorization", "Bearer hidden")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Fatal(err)
	}
	stop()
	mu.Lock()
	defer mu.Unlock()
	trace := []byte{0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c}
	if spans := bytes.Count(received, trace); spans < 2 {
		t.Errorf("%d spans of the client's trace, want those of the request and of the storage", spans)
	}
	for text, want := range map[string]bool{"POST blob-upload": true, "Writer": true, "image-registry": true, "hidden": false} {
		if bytes.Contains(received, []byte(text)) != want {
			t.Errorf("%q is in what was sent: %t, want %t", text, !want, want)
		}
	}
}
