package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"image.alauda.io/registry/test/selfsigned"
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
	var p pair
	var err error
	if p.certificate, p.key, err = selfsigned.Write(dir, 1); err != nil {
		return p, err
	}
	certificate, err := os.ReadFile(p.certificate)
	if err != nil {
		return p, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)
	p.client = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	return p, nil
}
