// Package pki makes the keys and certificates of the cluster.
//
// One CA signs every client and server; a second one is for the front proxy, so
// that a client certificate of a user is never taken for kube-apiserver's own
// when it calls an aggregated API server. What exists and is still good for
// long enough is left alone, so a repeated `up` restarts nothing.
//
// In: a folder, a clock, the names wanted. Out: PEM files and kubeconfigs with
// the credentials inside. Keys are readable by their owner only.
package pki

import (
	"crypto"
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
	"slices"
	"time"
)

const (
	lifetime  = 365 * 24 * time.Hour
	renewFrom = 30 * 24 * time.Hour
)

// Authority is a folder of credentials under one CA.
type Authority struct {
	Dir  string
	Name string
	Now  func() time.Time

	cert *x509.Certificate
	key  crypto.Signer
}

// Request asks for one pair NAME.crt and NAME.key.
type Request struct {
	Name   string
	User   string
	Groups []string
	// Hosts are DNS names and IP addresses; a certificate with hosts may serve.
	Hosts []string
}

// Open loads the CA NAME.crt and NAME.key, or makes it.
func Open(dir, name string, now func() time.Time) (*Authority, error) {
	a := &Authority{Dir: dir, Name: name, Now: now}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("certificate folder: %w", err)
	}
	cert, key, err := a.load(name)
	if err == nil && a.lasts(cert) {
		a.cert, a.key = cert, key
		return a, nil
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "devcluster-" + name},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if a.cert, a.key, err = a.issue(name, template); err != nil {
		return nil, fmt.Errorf("authority %s: %w", name, err)
	}
	return a, nil
}

// Ensure makes the pair unless a fitting one exists.
func (a *Authority) Ensure(r Request) error {
	if cert, _, err := a.load(r.Name); err == nil && a.fits(cert, r) {
		return nil
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: r.User, Organization: r.Groups},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if len(r.Hosts) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	template.DNSNames, template.IPAddresses = split(r.Hosts)
	if _, _, err := a.issue(r.Name, template); err != nil {
		return fmt.Errorf("certificate %s: %w", r.Name, err)
	}
	return nil
}

func split(hosts []string) (names []string, addresses []net.IP) {
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			addresses = append(addresses, ip)
			continue
		}
		names = append(names, h)
	}
	return names, addresses
}

func (a *Authority) lasts(cert *x509.Certificate) bool {
	now := a.Now()
	return now.After(cert.NotBefore) && now.Add(renewFrom).Before(cert.NotAfter)
}

func (a *Authority) fits(cert *x509.Certificate, r Request) bool {
	if !a.lasts(cert) || cert.CheckSignatureFrom(a.cert) != nil {
		return false
	}
	if cert.Subject.CommonName != r.User || !slices.Equal(cert.Subject.Organization, r.Groups) {
		return false
	}
	for _, h := range r.Hosts {
		if cert.VerifyHostname(h) != nil {
			return false
		}
	}
	return true
}

// issue signs the template with the CA, or with itself when there is none yet,
// and writes the pair.
func (a *Authority) issue(name string, template *x509.Certificate) (*x509.Certificate, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = a.Now().Add(-time.Hour)
	template.NotAfter = a.Now().Add(lifetime)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, nil, err
	}
	if err := writeFile(a.file(name+".key"), keyPEM, 0o600); err != nil {
		return nil, nil, err
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return cert, key, writeFile(a.file(name+".crt"), certPEM, 0o644)
}

func (a *Authority) file(name string) string { return filepath.Join(a.Dir, name) }

func (a *Authority) load(name string) (*x509.Certificate, crypto.Signer, error) {
	certPEM, err := os.ReadFile(a.file(name + ".crt"))
	if err != nil {
		return nil, nil, err
	}
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return nil, nil, fmt.Errorf("%s.crt holds no PEM block", name)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, nil, err
	}
	key, err := loadKey(a.file(name + ".key"))
	if err != nil {
		return nil, nil, err
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, nil, fmt.Errorf("%s.key does not belong to %s.crt", name, name)
	}
	return cert, key, nil
}

// EnsureSigningKey makes the pair NAME.key and NAME.pub that service account
// tokens are signed with.
func EnsureSigningKey(dir, name string) error {
	private, public := filepath.Join(dir, name+".key"), filepath.Join(dir, name+".pub")
	key, err := loadKey(private)
	if err != nil {
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return fmt.Errorf("signing key %s: %w", name, err)
		}
		b, err := encodeKey(key)
		if err != nil {
			return fmt.Errorf("signing key %s: %w", name, err)
		}
		if err := writeFile(private, b, 0o600); err != nil {
			return err
		}
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("signing key %s: %w", name, err)
	}
	return writeFile(public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644)
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func loadKey(path string) (*ecdsa.PrivateKey, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", filepath.Base(path))
	}
	return x509.ParseECPrivateKey(block.Bytes)
}

// writeFile replaces the file in one step.
func writeFile(path string, content []byte, mode os.FileMode) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, content, mode); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
