package registry

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func healthy(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v2/" && r.Header.Get("Authorization") == "" {
		refuse(w, 401, "UNAUTHORIZED", "log in")
		return
	}
	w.WriteHeader(200)
}

// The preflight shows the token to /v2/ only, and falls back to / where there is no /healthz.
func TestPreflight(t *testing.T) {
	registry := newFake(t, healthy)
	if err := newClient(t, registry.URL, nil).Preflight(t.Context()); err != nil || strings.Join(registry.seen(), ",") != "GET /healthz,GET /v2/" {
		t.Errorf("error %v, requests %v", err, registry.seen())
	}
	if registry.headers[0].Get("Authorization") != "" || registry.headers[1].Get("Authorization") != "Bearer token-0" {
		t.Errorf("credentials %v", registry.headers)
	}
	old := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			http.NotFound(w, r)
		}
	})
	if err := newClient(t, old.URL, nil).Preflight(t.Context()); err != nil || strings.Join(old.seen(), ",") != "GET /healthz,GET /,GET /v2/" {
		t.Errorf("without /healthz: error %v, requests %v", err, old.seen())
	}
	for path, text := range map[string]string{"/": "404", "/v2/": "does not accept the token"} {
		bad := newFake(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case path == "/":
				http.NotFound(w, r)
			case r.URL.Path == path:
				refuse(w, 401, "UNAUTHORIZED", "no")
			}
		})
		if err := newClient(t, bad.URL, nil).Preflight(t.Context()); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s fails: %v, want %q", path, err, text)
		}
	}
}

// Behaviour 60: an unknown authority is refused with a hint, a given one is accepted, and only what was
// allowed by name is insecure: the address of these servers is a private one.
func TestTrust(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(healthy))
	t.Cleanup(server.Close)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	err := newClient(t, server.URL, nil).Preflight(t.Context())
	if err == nil || !strings.Contains(err.Error(), "--certificate-authority") {
		t.Errorf("unknown authority: %v", err)
	}
	if err := newClient(t, server.URL, func(o *Options) { o.Authorities = [][]byte{authority} }).Preflight(t.Context()); err != nil {
		t.Errorf("given authority: %v", err)
	}
	if err := newClient(t, server.URL, func(o *Options) { o.Insecure = true }).Preflight(t.Context()); err != nil {
		t.Errorf("insecure: %v", err)
	}
}

// http is tried after https only where that is allowed, and no token goes there before.
func TestPlainHTTP(t *testing.T) {
	registry := newFake(t, healthy)
	secure := strings.Replace(registry.URL, "http://", "https://", 1)
	err := newClient(t, secure, nil).Preflight(t.Context())
	if err == nil || !strings.Contains(err.Error(), "--force-insecure") || len(registry.seen()) != 0 {
		t.Errorf("https only: error %v, requests %v", err, registry.seen())
	}
	client := newClient(t, secure, func(o *Options) { o.TryHTTP, o.Insecure = true, true })
	if err := client.Preflight(t.Context()); err != nil || client.Address() != registry.URL {
		t.Errorf("http allowed: error %v, address %s", err, client.Address())
	}
	registry.Close()
	client = newClient(t, secure, func(o *Options) { o.TryHTTP, o.Insecure = true, true })
	if err := client.Preflight(t.Context()); err == nil || !strings.Contains(err.Error(), "with http:") {
		t.Errorf("neither: %v", err)
	}
}

// Names that cannot be found are usually those of the inside of the cluster.
func TestUnknownNameHasAHint(t *testing.T) {
	err := newClient(t, "http://no-such-host.invalid", nil).Preflight(t.Context())
	if err == nil || !strings.Contains(err.Error(), "--registry-url") {
		t.Errorf("error %v", err)
	}
}
