package pki

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, dir string, at time.Time) *Authority {
	t.Helper()
	a, err := Open(dir, "ca", func() time.Time { return at })
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var server = Request{Name: "server", User: "srv", Groups: []string{"g"}, Hosts: []string{"127.0.0.1", "kubernetes.default.svc"}}

func TestPairsAreKeptUntilTheyNoLongerFit(t *testing.T) {
	dir := t.TempDir()
	crt := filepath.Join(dir, "server.crt")
	if err := open(t, dir, noon).Ensure(server); err != nil {
		t.Fatal(err)
	}
	first := read(t, crt)
	changed := server
	changed.Hosts = append(changed.Hosts, "198.18.0.1")
	for _, tc := range []struct {
		name string
		at   time.Time
		r    Request
		same bool
	}{
		{"a day later", noon.Add(24 * time.Hour), server, true},
		{"another host", noon, changed, false},
		{"fewer hosts", noon, server, true},
		{"near its end", noon.Add(lifetime - renewFrom), server, false},
	} {
		before := read(t, crt)
		if err := open(t, dir, tc.at).Ensure(tc.r); err != nil {
			t.Fatal(err)
		}
		if same := bytes.Equal(before, read(t, crt)); same != tc.same {
			t.Errorf("%s: kept %v, want %v", tc.name, same, tc.same)
		}
	}
	if bytes.Equal(first, read(t, crt)) {
		t.Error("never renewed")
	}
}

func TestCertificatesVerifyAgainstTheCA(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, noon)
	if err := a.Ensure(server); err != nil {
		t.Fatal(err)
	}
	cert, _, err := a.load("server")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(read(t, filepath.Join(dir, "ca.crt")))
	for _, host := range server.Hosts {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: noon}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestABrokenPairIsMadeAgain(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, noon)
	if err := a.Ensure(server); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "server.key"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := a.Ensure(server); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.load("server"); err != nil {
		t.Error(err)
	}
}

func TestKubeconfigNeedsNoOtherFile(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, noon)
	if err := a.Ensure(server); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "kubeconfig")
	if err := a.WriteKubeconfig(path, "server", "https://127.0.0.1:6443"); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "https://127.0.0.1:6443" || len(config.CAData) == 0 || len(config.CertData) == 0 || len(config.KeyData) == 0 {
		t.Errorf("incomplete: %+v", config.Host)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestSigningKeySurvives(t *testing.T) {
	dir := t.TempDir()
	var before []byte
	for range 2 {
		if err := EnsureSigningKey(dir, "sa"); err != nil {
			t.Fatal(err)
		}
		now := read(t, filepath.Join(dir, "sa.pub"))
		if before != nil && !bytes.Equal(before, now) {
			t.Error("the key changed")
		}
		before = now
	}
}
