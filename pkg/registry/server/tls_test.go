package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
)

// writePair writes a self-signed pair with a serial number.
func writePair(t *testing.T, directory string, serial int64) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(directory, "tls.crt"), filepath.Join(directory, "tls.key")
	write(t, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
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
