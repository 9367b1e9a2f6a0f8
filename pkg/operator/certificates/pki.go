package certificates

import (
	"bytes"
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
	"time"
)

const (
	// clockSkew is how far certificates are dated back, for clients whose clock is behind.
	clockSkew = time.Hour

	pemCertificate = "CERTIFICATE"
	pemECKey       = "EC PRIVATE KEY"
)

// pair is a certificate with its private key, in PEM and parsed.
type pair struct {
	certPEM []byte
	keyPEM  []byte
	cert    *x509.Certificate
	key     any
}

// sans is what a leaf is valid for.
type sans struct {
	dns []string
	ips []net.IP
}

// newSigner draws a self-signed authority that may sign leaves but no further authority.
func newSigner(now time.Time, life time.Duration) (*pair, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: fmt.Sprintf("%s@%d", CASecretName, now.Unix())},
		NotBefore:             now.Add(-backdate(life)),
		NotAfter:              now.Add(life),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	return sign(template, nil)
}

// maxCommonName is the bound of RFC 5280, appendix A.1.
const maxCommonName = 64

// newLeaf draws a serving certificate for names, signed by signer. It never outlives its signer.
func newLeaf(signer *pair, names sans, now time.Time, life time.Duration) (*pair, error) {
	notAfter := now.Add(life)
	if notAfter.After(signer.cert.NotAfter) {
		notAfter = signer.cert.NotAfter
	}
	common := names.dns[0]
	if len(common) > maxCommonName {
		common = "" // clients read the names, and some refuse a certificate with a longer common name
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: common},
		NotBefore:             now.Add(-backdate(life)),
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              names.dns,
		IPAddresses:           names.ips,
	}
	return sign(template, signer)
}

// sign completes template with a fresh key and serial number. Without a signer it signs itself.
func sign(template *x509.Certificate, signer *pair) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("generate serial number: %w", err)
	}
	template.SerialNumber = serial

	parent, signingKey := template, any(key)
	if signer != nil {
		parent, signingKey = signer.cert, signer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signingKey)
	if err != nil {
		return nil, fmt.Errorf("sign certificate %q: %w", template.Subject.CommonName, err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse new certificate: %w", err)
	}
	return &pair{
		certPEM: pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der}),
		keyPEM:  pem.EncodeToMemory(&pem.Block{Type: pemECKey, Bytes: keyDER}),
		cert:    cert,
		key:     key,
	}, nil
}

// parsePair reads a certificate chain with the key of its first certificate.
func parsePair(certPEM, keyPEM []byte) (*pair, error) {
	parsed, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	return &pair{certPEM: certPEM, keyPEM: keyPEM, cert: parsed.Leaf, key: parsed.PrivateKey}, nil
}

// parseSigner reads a pair that may sign leaves.
func parseSigner(certPEM, keyPEM []byte) (*pair, error) {
	signer, err := parsePair(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	if !signer.cert.IsCA {
		return nil, errors.New("the certificate is not a certification authority")
	}
	if usage := signer.cert.KeyUsage; usage != 0 && usage&x509.KeyUsageCertSign == 0 {
		return nil, errors.New("the certificate may not sign certificates")
	}
	return signer, nil
}

// certificatesIn reads every certificate of a PEM text and skips everything else: one damaged block must not
// cost the trust in the others.
func certificatesIn(text []byte) []*x509.Certificate {
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			return certs
		}
		if block.Type != pemCertificate {
			continue
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			certs = append(certs, cert)
		}
	}
}

// encodeCertificates writes certificates as PEM, each one once, in order.
func encodeCertificates(certs []*x509.Certificate) []byte {
	var out bytes.Buffer
	seen := map[string]bool{}
	for _, cert := range certs {
		if seen[string(cert.Raw)] {
			continue
		}
		seen[string(cert.Raw)] = true
		out.Write(pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: cert.Raw}))
	}
	return out.Bytes()
}

// signedBy tells whether cert was signed by the key of signer.
func signedBy(cert, signer *x509.Certificate) bool {
	return cert.CheckSignatureFrom(signer) == nil
}

// verifies tells whether a client that trusts the given certificates accepts the leaf, with the chain that is
// served with it.
func verifies(leaf *pair, trusted []*x509.Certificate, now time.Time) bool {
	roots, chain := x509.NewCertPool(), x509.NewCertPool()
	for _, cert := range trusted {
		roots.AddCert(cert)
	}
	for _, cert := range certificatesIn(leaf.certPEM) {
		chain.AddCert(cert)
	}
	_, err := leaf.cert.Verify(x509.VerifyOptions{Roots: roots, Intermediates: chain, CurrentTime: now})
	return err == nil
}
