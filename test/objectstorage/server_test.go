//go:build component

package objectstorage

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	accessKey = "0123456789"
	secretKey = "@secret: of/the+tests#1"
	bucket    = "images"
)

// authority is the CA of everything here, in a file that the process trusts.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	file        string
}

var trusted authority

// authorityVariable names the directory of the CA to the process that runs the tests.
const authorityVariable = "OBJECTSTORAGE_AUTHORITY"

// TestMain runs the tests in a process that began with trust in the CA: the certificates of
// the system are read once, and some packages do it before main.
func TestMain(m *testing.M) {
	if os.Getenv(processVariable) != "" {
		os.Exit(process())
	}
	if directory := os.Getenv(authorityVariable); directory != "" {
		var err error
		if trusted, err = readAuthority(directory); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	code, err := runWithTrust()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runWithTrust() (int, error) {
	directory, err := os.MkdirTemp("", "objectstorage")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(directory) //nolint:errcheck // a temporary directory
	if err := makeAuthority(directory); err != nil {
		return 0, err
	}
	command := exec.Command(os.Args[0], os.Args[1:]...)
	// The machine's own settings of the S3 client would win over what is tested.
	command.Env = slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "AWS_") })
	command.Env = append(command.Env, authorityVariable+"="+directory, "SSL_CERT_FILE="+filepath.Join(directory, "ca.crt"), "SSL_CERT_DIR="+directory)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = command.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

func makeAuthority(directory string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "private CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	encoded, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(directory, "ca.key"), encoded, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(directory, "ca.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600)
}

func readAuthority(directory string) (a authority, err error) {
	a.file = filepath.Join(directory, "ca.crt")
	raw, err := os.ReadFile(a.file)
	if err != nil {
		return a, err
	}
	block, _ := pem.Decode(raw)
	if a.certificate, err = x509.ParseCertificate(block.Bytes); err != nil {
		return a, err
	}
	if raw, err = os.ReadFile(filepath.Join(directory, "ca.key")); err != nil {
		return a, err
	}
	a.key, err = x509.ParseECPrivateKey(raw)
	return a, err
}

// pair issues a serving certificate for this machine and writes it to a directory.
func (a authority) pair(t *testing.T, directory string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "127.0.0.1"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.certificate, private.Public(), a.key)
	must(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	certificate, key = filepath.Join(directory, "tls.crt"), filepath.Join(directory, "tls.key")
	must(t, os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600))
	must(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), 0o600))
	return certificate, key
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// s3Server is a running server with one bucket.
type s3Server struct {
	// url is https://host:port; directory holds a directory for each bucket.
	url, directory string
}

// binary finds the server that `make test-component` builds.
func binary(t *testing.T) string {
	t.Helper()
	path := os.Getenv("VERSITYGW")
	if path == "" {
		path = filepath.Join("..", "..", "_output", "bin", "versitygw")
	}
	path, err := filepath.Abs(path)
	must(t, err)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the S3 server is missing, build it with: make _output/bin/versitygw (%v)", err)
	}
	return path
}

func startS3(t *testing.T) *s3Server {
	t.Helper()
	directory := t.TempDir()
	s := &s3Server{directory: filepath.Join(directory, "buckets")}
	metadata := filepath.Join(directory, "metadata")
	for _, path := range []string{filepath.Join(s.directory, bucket), metadata} {
		must(t, os.MkdirAll(path, 0o700))
	}
	certificate, key := trusted.pair(t, directory)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := listener.Addr().String()
	must(t, listener.Close())
	s.url = "https://" + address

	log, err := os.Create(filepath.Join(directory, "log"))
	must(t, err)
	command := exec.Command(binary(t), "--port", address, "--cert", certificate, "--key", key, "--quiet", "--health", "/healthy",
		"posix", "--sidecar", metadata, s.directory)
	command.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+accessKey, "ROOT_SECRET_KEY="+secretKey)
	command.Stdout, command.Stderr = log, log
	must(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		_ = log.Close()
		if raw, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("log of the S3 server:\n%s", raw)
		}
	})
	eventually(t, "the S3 server answers", func() error {
		response, err := client().Get(s.url + "/healthy")
		if err != nil {
			return err
		}
		defer response.Body.Close() //nolint:errcheck // nothing to read
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", response.StatusCode)
		}
		return nil
	})
	return s
}

// client is one that trusts the CA by itself and keeps no connections.
func client() *http.Client {
	pool := x509.NewCertPool()
	pool.AddCert(trusted.certificate)
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not yet after 30 s: %s: %v", what, err)
		case <-ticker.C:
		}
	}
}

func tlsOf(t *testing.T, certificate, key string) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certificate, key)
	must(t, err)
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

// parameters are the options of the driver, path style as the operator sets it.
func (s *s3Server) parameters(changes ...string) map[string]any {
	parameters := map[string]any{
		"bucket": bucket, "region": "us-east-1", "regionendpoint": s.url, "forcepathstyle": true, "accesskey": accessKey, "secretkey": secretKey,
	}
	for i := 0; i+1 < len(changes); i += 2 {
		parameters[changes[i]] = changes[i+1]
	}
	return parameters
}
