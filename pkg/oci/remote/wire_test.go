package remote

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/hostcerts"
	"image.alauda.io/registry/test/secondregistry"
)

// Behaviour 40.
func TestOnlyInsecureRegistriesDoWithoutTrustedTLS(t *testing.T) {
	plain := secondregistry.Start(t, secondregistry.Options{})
	selfSigned := secondregistry.Start(t, secondregistry.Options{TLS: true})
	for _, registry := range []*secondregistry.Registry{plain, selfSigned} {
		registry.PushImage(t, "app", "v1", secondregistry.Image{})
	}
	_, plainPort, _ := strings.Cut(plain.Host, ":")
	// All names for which the library would try plain HTTP by itself lead to the registry.
	client := newClient(t, func(_ *Options, f *fixture) {
		f.names["registry.local"], f.names["reg.localhost"] = "127.0.0.1", "127.0.0.1"
	})
	for _, host := range []string{plain.Host, "localhost:" + plainPort, "reg.localhost:" + plainPort, "registry.local:" + plainPort} {
		plain.Forget()
		_, err := client.repository(t, host+"/app", false, nil).Manifest(t.Context(), "v1")
		wantKind(t, err, Network, "plain HTTP")
		if n := len(plain.Requests()); n != 0 {
			t.Errorf("%s got %d plain requests, want none", host, n)
		}
		if _, err := client.repository(t, host+"/app", true, nil).Manifest(t.Context(), "v1"); err != nil {
			t.Errorf("insecure %s: %v", host, err)
		}
	}
	_, err := client.repository(t, selfSigned.Host+"/app", false, nil).Manifest(t.Context(), "v1")
	wantKind(t, err, Network, "authority that is not trusted")
	if _, err := client.repository(t, selfSigned.Host+"/app", true, nil).Manifest(t.Context(), "v1"); err != nil {
		t.Error(err)
	}

	client.set(func(s *Settings) { s.InsecureRegistries = []string{plain.Host} })
	if _, err := client.repository(t, plain.Host+"/app", false, nil).Manifest(t.Context(), "v1"); err != nil {
		t.Errorf("registry that the settings call insecure: %v", err)
	}
}

// The private networks cannot be reached in a test; what counts is that nothing is sent in plain text.
//
// Behaviour 40.
func TestPrivateAddressesAreNoExcuseForPlainHTTP(t *testing.T) {
	for _, host := range []string{"10.0.0.5:5000", "172.16.0.5", "192.168.1.5:80", "registry.local", "localhost:5000"} {
		r, err := compile(&Settings{})
		if err != nil {
			t.Fatal(err)
		}
		u := &url.URL{Scheme: "http", Host: host}
		wantKind(t, allowed(u, canonicalHost(host), r, terms{}), Blocked, "plain HTTP")
		if err := allowed(u, canonicalHost(host), r, terms{insecure: true}); err != nil {
			t.Errorf("insecure %s: %v", host, err)
		}
	}
}

// Behaviour 40.
func TestRedirects(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{TLS: true, Users: map[string]string{"ann": "right"}})
	k := keys(t, logins{registry.Host: {"ann", "right"}})
	body := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"tags":["from elsewhere","moved"]}`) }
	plain, secure := record(t, false, body), record(t, true, body)
	var target string
	registry.Answer("", "/v2/app/tags/list", func(w http.ResponseWriter, request *http.Request) {
		http.Redirect(w, request, target, http.StatusTemporaryRedirect)
	})
	client := newClient(t)

	target = plain.URL
	_, err := client.repository(t, registry.Host+"/app", true, k).Tags(t.Context(), 0)
	wantKind(t, err, Blocked, "redirect to plain HTTP")
	if n := len(plain.requests()); n != 0 {
		t.Errorf("the plain host got %d requests, want none", n)
	}

	target = secure.URL
	tags, err := client.repository(t, registry.Host+"/app", true, k).Tags(t.Context(), 0)
	if err != nil || len(tags) != 1 {
		t.Errorf("redirect to another host gives %v, %v", tags, err)
	}
	for _, authorization := range secure.requests() {
		if authorization != "" {
			t.Error("the credential was sent to the host of a redirect")
		}
	}
	if len(secure.requests()) == 0 {
		t.Error("the redirect was not followed")
	}

	client.set(func(s *Settings) { s.BlockedRegistries = []string{strings.TrimPrefix(secure.URL, "https://")} })
	_, err = client.repository(t, registry.Host+"/app", true, k).Tags(t.Context(), 0)
	wantKind(t, err, Blocked, "blocked")

	target = "/v2/app/tags/list"
	_, err = client.repository(t, registry.Host+"/app", true, k).Tags(t.Context(), 0)
	wantKind(t, err, Blocked, "too many redirects")
}

// Behaviour 40.
func TestDeniedAddressesAreNotConnectedTo(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{})
	registry.PushImage(t, "app", "v1", secondregistry.Image{})
	_, port, _ := strings.Cut(registry.Host, ":")
	var internal []string
	client := newClient(t, func(o *Options, f *fixture) {
		f.names["rebinding.example.com"] = "::ffff:127.0.0.1"
		o.InternalHosts = func() []string { return internal }
	})
	fetch := func(host string) error {
		_, err := client.repository(t, host+"/app", true, nil).Manifest(t.Context(), "v1")
		return err
	}
	named := "rebinding.example.com:" + port
	client.set(func(s *Settings) { s.DeniedCIDRs = []string{"127.0.0.0/8"} })
	wantKind(t, fetch(registry.Host), Blocked, "address is denied")
	wantKind(t, fetch(named), Blocked, "address is denied")
	wantKind(t, fetch("0.0.0.0:"+port), Blocked, "address is denied")
	if n := len(registry.Requests()); n != 0 {
		t.Fatalf("the denied host got %d requests, want none", n)
	}

	client.set(func(s *Settings) { s.AllowedHosts = []string{"rebinding.example.com:1"} })
	wantKind(t, fetch(named), Blocked)
	for _, allowed := range []string{"rebinding.example.com", named} {
		client.set(func(s *Settings) { s.AllowedHosts = []string{allowed} })
		if err := fetch(named); err != nil {
			t.Errorf("with %s allowed: %v", allowed, err)
		}
	}
	client.set(func(s *Settings) { s.AllowedHosts = nil })
	client.Close()
	internal = []string{named}
	if err := fetch(named); err != nil {
		t.Errorf("the integrated registry itself: %v", err)
	}
	wantKind(t, fetch(registry.Host), Blocked)
}

// Behaviour 40.
func TestRedirectsAndTokenServicesCannotReachDeniedAddresses(t *testing.T) {
	secret := record(t, false, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"token":"x"}`) })
	_, port, _ := strings.Cut(secret.Listener.Addr().String(), ":")
	target := "http://metadata.example.net:" + port + "/latest"
	redirecting := secondregistry.Start(t, secondregistry.Options{})
	redirecting.Answer("", "/v2/app/**", func(w http.ResponseWriter, request *http.Request) {
		http.Redirect(w, request, target, http.StatusFound)
	})
	asking := secondregistry.Start(t, secondregistry.Options{Tokens: true, Realm: target})
	client := newClient(t, func(_ *Options, f *fixture) { f.names["metadata.example.net"] = "127.0.0.1" })
	for name, registry := range map[string]*secondregistry.Registry{"redirect": redirecting, "token service": asking} {
		client.set(func(s *Settings) { s.DeniedCIDRs, s.AllowedHosts = []string{"127.0.0.0/8"}, []string{registry.Host} })
		_, err := client.repository(t, registry.Host+"/app", true, nil).Tags(t.Context(), 0)
		wantKind(t, err, Blocked, "address is denied")
		if len(registry.Requests()) == 0 {
			t.Errorf("%s: the registry was not asked", name)
		}
	}
	if n := len(secret.requests()); n != 0 {
		t.Errorf("the denied address got %d requests, want none", n)
	}
}

// Behaviour 40.
func TestCertificateFilesAreForTheHostTheirNameSpells(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{TLS: true})
	registry.PushImage(t, "app", "v1", secondregistry.Image{})
	_, port, _ := strings.Cut(registry.Host, ":")
	dir := t.TempDir()
	client := newClient(t, func(o *Options, f *fixture) {
		o.CADirs = []string{filepath.Join(dir, "missing"), dir}
		f.names["example.com"] = "127.0.0.1"
	})
	fetch := func(host string) error {
		_, err := client.repository(t, host+"/app", false, nil).Manifest(t.Context(), "v1")
		return err
	}
	write := func(host string, data []byte) string {
		t.Helper()
		key, err := hostcerts.Key(host)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, key)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	if err := os.WriteFile(filepath.Join(dir, "storage-ca-bundle.pem"), registry.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	wantKind(t, fetch(registry.Host), Network, "not trusted")
	write("127.0.0.1", registry.CA)
	write("other.example.com:"+port, registry.CA)
	wantKind(t, fetch(registry.Host), Network, "not trusted")
	file := write(registry.Host, registry.CA)
	if err := fetch(registry.Host); err != nil {
		t.Errorf("with its own file: %v", err)
	}
	wantKind(t, fetch("example.com:"+port), Network, "not trusted")

	client.Close()
	write(registry.Host, []byte("damaged"))
	if err := fetch(registry.Host); err != nil {
		t.Errorf("a damaged file took the trust away: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	wantKind(t, fetch(registry.Host), Network, "not trusted")
}

func TestBlockedRegistriesAreNeverContacted(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{})
	client := newClient(t)
	repository := client.repository(t, registry.Host+"/app", true, nil)
	client.set(func(s *Settings) { s.BlockedRegistries = []string{registry.Host, "docker.io", "quay.io:443"} })
	_, err := repository.Tags(t.Context(), 0)
	wantKind(t, err, Blocked, "registry "+registry.Host+" blocked")
	for name, host := range map[string]string{
		registry.Host + "/app": registry.Host, "busybox": "docker.io", "index.docker.io/library/busybox": "docker.io", "quay.io/a/b": "quay.io",
	} {
		_, err := client.Repository(RepositoryOptions{Reference: parsed(t, name)})
		wantKind(t, err, Blocked, "registry "+host+" blocked")
	}
	if n := len(registry.Requests()); n != 0 {
		t.Errorf("the blocked registry got %d requests, want none", n)
	}
}

func TestHostsThatAreNoRegistry(t *testing.T) {
	client := newClient(t)
	for name, answer := range map[string]http.HandlerFunc{
		"not found": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"a website": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, "<html>welcome</html>")
		},
	} {
		host := strings.TrimPrefix(record(t, false, answer).URL, "http://")
		_, err := client.repository(t, host+"/app", true, nil).Manifest(t.Context(), "v1")
		if e := wantKind(t, err, NotV2Registry, "not a v2 registry"); t.Failed() {
			t.Logf("%s: %v", name, e)
		}
	}
	closed := httptest.NewServer(nil)
	host := strings.TrimPrefix(closed.URL, "http://")
	closed.Close()
	_, err := client.repository(t, host+"/app", false, nil).Manifest(t.Context(), "v1")
	wantKind(t, err, Network, "registry "+host+": the connection is refused")
	_, err = client.repository(t, "gone.invalid/app", false, nil).Manifest(t.Context(), "v1")
	wantKind(t, err, Network, "registry gone.invalid: the host name")
}

func TestFailuresThatMayPassAreRetried(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{})
	registry.PushImage(t, "app", "v1", secondregistry.Image{})
	r := newClient(t).repository(t, registry.Host+"/app", true, nil)
	if _, err := r.Manifest(t.Context(), "v1"); err != nil {
		t.Fatal(err)
	}
	for status, want := range map[int]int{500: 3, 502: 3, 503: 3, 504: 3, 400: 1, 404: 1, 501: 1} {
		registry.Recover()
		registry.Forget()
		registry.Fail("", "/v2/app/**", status)
		_, err := r.Manifest(t.Context(), "v1")
		if err == nil {
			t.Errorf("status %d is no error", status)
		}
		if n := registry.Count("", "/v2/app/**"); n != want {
			t.Errorf("status %d: %d requests, want %d", status, n, want)
		}
	}
	registry.Recover()
	failures := 2
	registry.Answer("", "/v2/app/manifests/v1", func(w http.ResponseWriter, request *http.Request) {
		if failures--; failures >= 0 {
			panic(http.ErrAbortHandler)
		}
		registry.Recover()
		registry.ServeHTTP(w, request)
	})
	if _, err := r.Manifest(t.Context(), "v1"); err != nil {
		t.Errorf("after two broken connections: %v", err)
	}
}

func TestTimeouts(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{})
	content := []byte(strings.Repeat("x", 100_000))
	blob := registry.PushBlob(t, "app", "application/octet-stream", content)
	client := newClient(t, func(o *Options, _ *fixture) {
		o.Timeouts.Request, o.Timeouts.BodyIdle = time.Second, 200*time.Millisecond
	})
	r := client.repository(t, registry.Host+"/app", true, nil)
	if _, err := r.StatBlob(t.Context(), blob.Digest); err != nil {
		t.Fatal(err)
	}
	registry.Slow("", "/v2/app/**", time.Hour)
	_, err := r.Manifest(t.Context(), "v1")
	wantKind(t, err, Timeout, "no answer in time")
	_, err = r.OpenBlob(t.Context(), blob.Digest, "")
	wantKind(t, err, Timeout, "no answer in time")
	registry.Recover()
	registry.Answer("", "/v2/app/blobs/*", func(w http.ResponseWriter, request *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content[:10])
		w.(http.Flusher).Flush()
		<-request.Context().Done()
	})
	stream, err := r.OpenBlob(t.Context(), blob.Digest, "")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	for err == nil {
		_, err = stream.Body.Read(make([]byte, 100))
	}
	wantKind(t, err, Timeout, "stands still")
}

func TestProxiesAreForOtherHostsOnly(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{})
	registry.PushImage(t, "app", "v1", secondregistry.Image{})
	_, port, _ := strings.Cut(registry.Host, ":")
	proxy := record(t, false, registry.ServeHTTP)
	client := newClient(t, func(o *Options, f *fixture) {
		f.names["internal.example.com"] = "127.0.0.1"
		o.InternalHosts = func() []string { return []string{"internal.example.com:" + port} }
		o.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(proxy.URL) }
	})
	client.set(func(s *Settings) {
		s.DeniedCIDRs, s.InsecureRegistries = []string{"127.0.0.0/8"}, []string{"unresolvable.example:80"}
	})
	fetch := func(host string) error {
		_, err := client.repository(t, host+"/app", true, nil).Manifest(t.Context(), "v1")
		return err
	}
	if err := fetch("internal.example.com:" + port); err != nil || len(proxy.requests()) != 0 {
		t.Errorf("the integrated registry: %v, %d requests at the proxy", err, len(proxy.requests()))
	}
	for _, host := range []string{"127.0.0.1:" + port, "localhost:" + port} {
		wantKind(t, fetch(host), Blocked, "address is denied")
	}
	if n := len(proxy.requests()); n != 0 {
		t.Errorf("the proxy was asked for denied addresses %d times", n)
	}
	if err := fetch("unresolvable.example:80"); err != nil || len(proxy.requests()) == 0 {
		t.Errorf("another registry: %v, %d requests at the proxy", err, len(proxy.requests()))
	}
}
