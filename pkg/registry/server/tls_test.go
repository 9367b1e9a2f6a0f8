package server

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"image.alauda.io/registry/test/selfsigned"

	"go.uber.org/zap"
)

// writePair writes a self-signed pair with a serial number.
func writePair(t *testing.T, directory string, serial int64) (certFile, keyFile string) {
	t.Helper()
	certFile, keyFile, err := selfsigned.Write(directory, serial)
	if err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}

func write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Behaviour 90.
func TestCertificateIsReloaded(t *testing.T) {
	directory := t.TempDir()
	certFile, keyFile := writePair(t, directory, 1)
	var ends int
	certificate, err := NewCertificate(certFile, keyFile, zap.NewNop(), func(time.Time) { ends++ })
	if err != nil {
		t.Fatal(err)
	}
	serial := func() int64 {
		served, err := certificate.Get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return served.Leaf.SerialNumber.Int64()
	}
	if changed, err := certificate.Reload(); changed || err != nil {
		t.Errorf("unchanged files: %t, %v", changed, err)
	}
	write(t, certFile, []byte("broken"))
	if changed, err := certificate.Reload(); changed || err == nil || serial() != 1 {
		t.Errorf("a bad pair: %t, %v, serial %d", changed, err, serial())
	}
	writePair(t, directory, 2)
	if changed, err := certificate.Reload(); !changed || err != nil || serial() != 2 || ends != 2 {
		t.Errorf("a new pair: %t, %v, serial %d, %d notices", changed, err, serial(), ends)
	}
}

// Behaviour 90.
func TestTLSConfig(t *testing.T) {
	directory := t.TempDir()
	certFile, keyFile := writePair(t, directory, 1)
	certificate, err := NewCertificate(certFile, keyFile, zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]TLSOptions{
		"version": {MinimumVersion: "tls1.1"}, "cipher": {CipherSuites: []string{"TLS_RSA_WITH_RC4_128_SHA"}},
		"missing CA": {ClientCAs: []string{filepath.Join(directory, "none")}}, "CA without certificate": {ClientCAs: []string{keyFile}},
	} {
		if _, err := TLSConfig(bad, certificate); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	config, err := TLSConfig(TLSOptions{MinimumVersion: "tls1.3", ClientCAs: []string{certFile}, HTTP2: true}, certificate)
	if err != nil || config.MinVersion != tls.VersionTLS13 || config.ClientAuth != tls.VerifyClientCertIfGiven || config.NextProtos[0] != "h2" {
		t.Errorf("%+v, %v", config, err)
	}
}

// Behaviour 90: a connection goes on over a change of the certificate, sessions are resumed, and the next
// new client sees the new certificate.
func TestCertificateChangesWithoutDroppedConnections(t *testing.T) {
	directory := t.TempDir()
	certFile, keyFile := writePair(t, directory, 1)
	certificate, err := NewCertificate(certFile, keyFile, zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := TLSConfig(TLSOptions{HTTP2: true}, certificate)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RemoteAddr) })}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	newClient := func() *http.Client {
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1)}} //nolint:gosec // looks at serial numbers
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	get := func(client *http.Client) (address string, serial int64, resumed bool) {
		answer, err := client.Get("https://" + listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close() //nolint:errcheck // everything was read
		raw, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw), answer.TLS.PeerCertificates[0].SerialNumber.Int64(), answer.TLS.DidResume
	}
	client := newClient()
	before, _, _ := get(client)
	writePair(t, directory, 2)
	if changed, err := certificate.Reload(); !changed || err != nil {
		t.Fatalf("a new pair: %t, %v", changed, err)
	}
	if after, serial, _ := get(client); after != before || serial != 1 {
		t.Errorf("the open connection: from %s, then from %s with serial %d", before, after, serial)
	}
	if _, serial, _ := get(newClient()); serial != 2 {
		t.Errorf("a new client sees serial %d, want 2", serial)
	}
	client.CloseIdleConnections()
	if _, _, resumed := get(client); !resumed {
		t.Error("a client that knows the server makes a whole handshake again")
	}
}
