// Package selfsigned issues the certificates of servers in tests.
//
// In comes a serial number, by which a test tells one certificate from the next; out come a
// certificate and its key in PEM, good for a day, or a time that the test gives, on localhost, or names that the
// test gives, and 127.0.0.1. The
// certificate is its own authority, so a client that trusts it needs nothing else. It knows
// no server and no client. Certificates of a real authority are made by package
// controlplane, and where a test is about authorities, by that test.
package selfsigned

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Issue makes a certificate with its key, both in PEM.
func Issue(serial int64) (certificate, key []byte, err error) { return IssueFor(serial, "localhost") }

// IssueFor makes one for other names.
func IssueFor(serial int64, names ...string) (certificate, key []byte, err error) {
	return issue(serial, time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour), names...)
}

// Lasting makes one with another life.
func Lasting(from, to time.Time) (certificate, key []byte, err error) {
	return issue(1, from, to, "localhost")
}

func issue(serial int64, from, to time.Time, names ...string) (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"},
		DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate: %w", err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), nil
}

// Write issues a certificate into tls.crt and tls.key of a directory and names the files.
func Write(directory string, serial int64) (certificate, key string, err error) {
	certificatePEM, keyPEM, err := Issue(serial)
	if err != nil {
		return "", "", err
	}
	certificate, key = filepath.Join(directory, "tls.crt"), filepath.Join(directory, "tls.key")
	if err := os.WriteFile(certificate, certificatePEM, 0o600); err != nil {
		return "", "", err
	}
	return certificate, key, os.WriteFile(key, keyPEM, 0o600)
}
