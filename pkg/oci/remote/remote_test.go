package remote

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"image.alauda.io/api/image/reference"
	"image.alauda.io/registry/pkg/hostcerts"
	"image.alauda.io/registry/pkg/oci/remote/keyring"
	"image.alauda.io/registry/test/secondregistry"

	configv1 "image.alauda.io/api/config/v1"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fixture is a client and what a test may change of it.
type fixture struct {
	*Client
	settings *Settings
	names    map[string]string
}

// newClient returns a client that may connect to loopback addresses and repeats without waiting.
func newClient(t *testing.T, change ...func(*Options, *fixture)) *fixture {
	t.Helper()
	f := &fixture{names: map[string]string{"localhost": "127.0.0.1"}, settings: &Settings{
		RateLimits: configv1.RateLimits{Default: configv1.RateLimit{QPS: 10_000, Burst: 10_000}},
	}}
	o := DefaultOptions()
	o.UserAgent = "remote-test/1"
	o.Settings = func() *Settings { return f.settings }
	o.Retries = []time.Duration{time.Millisecond, time.Millisecond}
	o.CACheck = 0
	o.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
		if address, ok := f.names[host]; ok {
			return []netip.Addr{netip.MustParseAddr(address)}, nil
		}
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	for _, c := range change {
		c(&o, f)
	}
	client, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	f.Client = client
	return f
}

// set changes the settings, as a reload does.
func (f *fixture) set(change func(*Settings)) {
	fresh := *f.settings
	change(&fresh)
	f.settings = &fresh
}

func parsed(t *testing.T, name string) reference.DockerImageReference {
	t.Helper()
	ref, err := reference.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func (f *fixture) repository(t *testing.T, name string, insecure bool, keys *keyring.Keyring) *Repository {
	t.Helper()
	r, err := f.Repository(RepositoryOptions{Reference: parsed(t, name), Insecure: insecure, Keyring: keys})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// keys is a keyring of one Secret per map, named a, b, c….
func keys(t *testing.T, secrets ...map[string][2]string) *keyring.Keyring {
	t.Helper()
	var list []corev1.Secret
	for i, logins := range secrets {
		auths := map[string]any{}
		for key, login := range logins {
			auths[key] = map[string]string{"username": login[0], "password": login[1]}
		}
		raw, err := json.Marshal(map[string]any{"auths": auths})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: string(rune('a' + i))}, Type: corev1.SecretTypeDockerConfigJson,
			Data: map[string][]byte{corev1.DockerConfigJsonKey: raw},
		})
	}
	k, malformed := keyring.FromSecrets(list)
	if len(malformed) != 0 {
		t.Fatal(malformed)
	}
	return k
}

// trusting makes the client trust the registry's certificate under its own host name only.
func trusting(t *testing.T, r *secondregistry.Registry) func(*Options, *fixture) {
	t.Helper()
	key, err := hostcerts.Key(r.Host)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, key), r.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	return func(o *Options, _ *fixture) { o.CADirs = append(o.CADirs, dir) }
}

// wantKind checks the kind of an error and parts of its text.
func wantKind(t *testing.T, err error, kind Kind, parts ...string) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v, want one of kind %s", err, kind)
	}
	if e.Kind != kind {
		t.Errorf("error is %s: %s, want %s", e.Kind, e.Message, kind)
	}
	for _, part := range parts {
		if !strings.Contains(e.Message, part) {
			t.Errorf("message is %q, want %q in it", e.Message, part)
		}
	}
	return e
}
