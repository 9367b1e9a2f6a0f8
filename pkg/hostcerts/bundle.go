package hostcerts

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// Limits of one value.
const (
	MaxBundleBytes        = 256 << 10
	MaxBundleCertificates = 200
)

// ErrInvalidPEM marks every value that must not become a trust bundle.
var ErrInvalidPEM = errors.New("invalid PEM")

// Bundle is a checked and normalised value: at least one certificate.
type Bundle struct {
	// PEM holds the certificates and nothing else: LF line ends, one final newline, no duplicates, in
	// the order of the input.
	PEM []byte
	// Certificates are the parsed certificates of PEM, in the same order.
	Certificates []*x509.Certificate
	// NotAfter is the earliest end of validity among Certificates.
	NotAfter time.Time
	// Expired is true when no certificate was left that has not expired; the expired ones are then kept.
	Expired bool
}

// Pool returns the certificates as a pool of trust anchors.
func (b *Bundle) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, certificate := range b.Certificates {
		pool.AddCert(certificate)
	}
	return pool
}

// Normalise checks a value and rewrites it. Text between the blocks, blocks of other types and
// certificates that cannot be parsed are dropped; expired certificates are dropped while another one
// is left. A value with a private key, without any certificate or beyond the limits is refused with an
// error that wraps ErrInvalidPEM: one empty or unreadable CA file makes container runtimes fail every
// pull from its host. No error repeats any part of the value.
func Normalise(data []byte, now time.Time) (*Bundle, error) {
	if len(data) > MaxBundleBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrInvalidPEM, len(data), MaxBundleBytes)
	}
	// Looked for in the text, not among decoded blocks: a damaged key block must be refused too.
	if bytes.Contains(data, []byte("PRIVATE KEY-----")) {
		return nil, fmt.Errorf("%w: contains a private key", ErrInvalidPEM)
	}
	certificates, err := parseCertificates(data)
	if err != nil {
		return nil, err
	}
	kept := make([]*x509.Certificate, 0, len(certificates))
	for _, certificate := range certificates {
		if !now.After(certificate.NotAfter) {
			kept = append(kept, certificate)
		}
	}
	bundle := &Bundle{Certificates: kept}
	if len(kept) == 0 {
		bundle.Certificates, bundle.Expired = certificates, true
	}
	bundle.encode()
	return bundle, nil
}

// SameCertificates reports whether two values hold the same set of certificates, whatever their order
// and the text around them. Values without any certificate are never the same as anything.
func SameCertificates(a, b []byte) bool {
	left, err := parseCertificates(a)
	if err != nil {
		return false
	}
	right, err := parseCertificates(b)
	if err != nil || len(left) != len(right) {
		return false
	}
	known := make(map[string]bool, len(left))
	for _, certificate := range left {
		known[string(certificate.Raw)] = true
	}
	for _, certificate := range right {
		if !known[string(certificate.Raw)] {
			return false
		}
	}
	return true
}

// parseCertificates returns the distinct certificates of a value in their order.
func parseCertificates(data []byte) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	seen := map[string]bool{}
	blocks, unparsable := 0, 0
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if blocks++; blocks > MaxBundleCertificates {
			return nil, fmt.Errorf("%w: more than %d certificates", ErrInvalidPEM, MaxBundleCertificates)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			unparsable++
			continue
		}
		if !seen[string(certificate.Raw)] {
			seen[string(certificate.Raw)] = true
			certificates = append(certificates, certificate)
		}
	}
	if len(certificates) == 0 {
		return nil, fmt.Errorf("%w: no certificate found (%d blocks could not be parsed)", ErrInvalidPEM, unparsable)
	}
	return certificates, nil
}

func (b *Bundle) encode() {
	var out bytes.Buffer
	for _, certificate := range b.Certificates {
		// Encoding into memory fails only for invalid headers, and there are none.
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
		if b.NotAfter.IsZero() || certificate.NotAfter.Before(b.NotAfter) {
			b.NotAfter = certificate.NotAfter
		}
	}
	b.PEM = out.Bytes()
}
