package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// serveRole is this program as one of the servers.
func serveRole(args []string) error {
	role := args[0]
	if role == "registry" {
		return serveProfiled(args[1:])
	}
	flags := flag.NewFlagSet("serve "+role, flag.ContinueOnError)
	address := flags.String("address", "", "where to listen")
	certificate := flags.String("cert", "", "file of the certificate")
	key := flags.String("key", "", "file of the key")
	dir := flags.String("dir", "", "files to serve")
	server := flags.String("server", "", "address of the registry in references")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	var handler http.Handler
	switch role {
	case "files":
		handler = fileServer{*dir}
	case "api":
		handler = newAPIServer(*server)
	default:
		return fmt.Errorf("no role %s", role)
	}
	s := &http.Server{Addr: *address, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	return s.ListenAndServeTLS(*certificate, *key)
}

// fileServer is the least that a server of blobs can do in Go.
type fileServer struct{ dir string }

func (f fileServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/" {
		return
	}
	file, err := os.Open(filepath.Join(f.dir, filepath.Base(r.URL.Path)))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer file.Close() //nolint:errcheck // read only
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, file)
}

// pair is the key pair that all servers use.
type pair struct {
	certificate, key string
	client           *tls.Config
}

func newPair(dir string) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "registry bench"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return pair{}, err
	}
	keyRaw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pair{}, err
	}
	p := pair{certificate: filepath.Join(dir, "tls.crt"), key: filepath.Join(dir, "tls.key")}
	certificatePEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
	if err := os.WriteFile(p.certificate, certificatePEM, 0o600); err != nil {
		return pair{}, err
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyRaw})
	if err := os.WriteFile(p.key, keyPEM, 0o600); err != nil {
		return pair{}, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificatePEM)
	p.client = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	return p, nil
}
