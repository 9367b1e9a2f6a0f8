package controlplane

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
	"testing"
	"time"
)

// validity is longer than any test and short enough to be useless afterwards.
const validity = 24 * time.Hour

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// pair is a certificate with its key, PEM encoded.
type pair struct{ cert, key []byte }

// ServingCert issues a serving certificate for the names and addresses, signed by a CA of its own
// kind, and returns the files and the PEM of that CA, as an APIService's caBundle wants it.
func (cp *ControlPlane) ServingCert(tb testing.TB, names ...string) (certFile, keyFile string, caBundle []byte) {
	tb.Helper()
	certFile, keyFile, caBundle, err := cp.ServingCertIn(tb.TempDir(), names...)
	if err != nil {
		tb.Fatal(err)
	}
	return certFile, keyFile, caBundle
}

// ServingCertIn is ServingCert for programs that are no tests: the files are written into a folder.
func (cp *ControlPlane) ServingCertIn(dir string, names ...string) (certFile, keyFile string, caBundle []byte, err error) {
	issued, err := cp.servingCA.issue(pkix.Name{CommonName: names[0]}, x509.ExtKeyUsageServerAuth, names...)
	if err == nil {
		certFile, keyFile = dir+"/tls.crt", dir+"/tls.key"
		err = issued.write(certFile, keyFile)
	}
	if err != nil {
		return "", "", nil, fmt.Errorf("serving certificate for %v: %w", names, err)
	}
	return certFile, keyFile, cp.servingCA.pem, nil
}

func (cp *ControlPlane) writePKI() error {
	var err error
	if cp.clientCA, err = newAuthority("kubernetes-ca"); err != nil {
		return err
	}
	if cp.servingCA, err = newAuthority("serving-ca"); err != nil {
		return err
	}
	frontProxyCA, err := newAuthority("front-proxy-ca")
	if err != nil {
		return err
	}
	cp.FrontProxyCAFile = cp.file("front-proxy-ca.crt")
	cp.FrontProxyCertFile, cp.FrontProxyKeyFile = cp.file("front-proxy.crt"), cp.file("front-proxy.key")
	for file, ca := range map[string]*authority{"ca.crt": cp.clientCA, "front-proxy-ca.crt": frontProxyCA} {
		if err := os.WriteFile(cp.file(file), ca.pem, 0o600); err != nil {
			return err
		}
	}
	frontProxy, err := frontProxyCA.issue(pkix.Name{CommonName: FrontProxyName}, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return err
	}
	if err := frontProxy.write(cp.FrontProxyCertFile, cp.FrontProxyKeyFile); err != nil {
		return err
	}
	server, err := cp.clientCA.issue(pkix.Name{CommonName: "kube-apiserver"}, x509.ExtKeyUsageServerAuth,
		"127.0.0.1", "localhost", "198.18.240.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
	if err != nil {
		return err
	}
	if err := server.write(cp.file("apiserver.crt"), cp.file("apiserver.key")); err != nil {
		return err
	}
	return cp.writeServiceAccountKeys()
}

func (cp *ControlPlane) writeServiceAccountKeys() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := encodeKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	if err := os.WriteFile(cp.file("sa.key"), private, 0o600); err != nil {
		return err
	}
	return os.WriteFile(cp.file("sa.pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o600)
}

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(validity),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{cert: cert, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, nil
}

// issue signs a certificate; names that are addresses become IP names, the others DNS names.
func (a *authority) issue(subject pkix.Name, usage x509.ExtKeyUsage, names ...string) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return pair{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(validity),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{usage},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return pair{}, fmt.Errorf("certificate %s: %w", subject.CommonName, err)
	}
	encoded, err := encodeKey(key)
	if err != nil {
		return pair{}, err
	}
	return pair{cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key: encoded}, nil
}

func (p pair) write(certFile, keyFile string) error {
	if err := os.WriteFile(certFile, p.cert, 0o600); err != nil {
		return err
	}
	return os.WriteFile(keyFile, p.key, 0o600)
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}
