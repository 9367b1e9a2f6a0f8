//go:build component

package operator

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"image.alauda.io/registry/test/selfsigned"
)

const (
	s3Access = "0123456789"
	s3Secret = "@secret: of/the+tests#1"
)

// objectStore is an S3 server behind a proxy that makes trouble on demand. url is the proxy's, ca its authority,
// directory holds one directory for each bucket.
type objectStore struct {
	url, ca, directory string

	mu      sync.Mutex
	trouble func(*http.Request) http.HandlerFunc
}

// startObjectStore runs the server of hack/s3server with bucket "images".
func startObjectStore(t *testing.T) *objectStore {
	t.Helper()
	binary := os.Getenv("VERSITYGW")
	if binary == "" {
		binary = filepath.Join("..", "..", "_output", "bin", "versitygw")
	}
	binary, err := filepath.Abs(binary)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("the S3 server is missing, build it with: make _output/bin/versitygw (%v)", err)
	}
	dir := t.TempDir()
	s := &objectStore{directory: filepath.Join(dir, "buckets")}
	metadata := filepath.Join(dir, "metadata")
	for _, path := range []string{filepath.Join(s.directory, "images"), metadata} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	command := exec.Command(binary, "--port", address, "--quiet", "posix", "--sidecar", metadata, s.directory)
	command.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s3Access, "ROOT_SECRET_KEY="+s3Secret)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	s.front(t, &url.URL{Scheme: "http", Host: address})
	return s
}

// front is the proxy, with TLS from a private authority.
func (s *objectStore) front(t *testing.T, target *url.URL) {
	t.Helper()
	certificate, key, err := selfsigned.Issue(1)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host }, // the host is signed
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		trouble := s.trouble
		s.mu.Unlock()
		if trouble != nil {
			if answer := trouble(r); answer != nil {
				answer(w, r)
				return
			}
		}
		forward.ServeHTTP(w, r)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	s.url, s.ca = server.URL, string(certificate)
	if !x509.NewCertPool().AppendCertsFromPEM(certificate) {
		t.Fatal("the authority of the S3 server cannot be read")
	}
}

// make sets the trouble; nil ends it.
func (s *objectStore) make(trouble func(*http.Request) http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = trouble
}

// refusing refuses requests as a provider does.
func refusing(applies func(*http.Request) bool) func(*http.Request) http.HandlerFunc {
	return func(r *http.Request) http.HandlerFunc {
		if !applies(r) {
			return nil
		}
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>OperationAborted</Code><Message>says the test to `+s3Secret+`</Message></Error>`)
		}
	}
}

func all(answer http.HandlerFunc) func(*http.Request) http.HandlerFunc {
	return func(*http.Request) http.HandlerFunc { return answer }
}

// hang answers when the client has left.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// cut closes the connection without an answer.
func cut(w http.ResponseWriter, _ *http.Request) {
	if connection, _, err := w.(http.Hijacker).Hijack(); err == nil {
		_ = connection.Close()
	}
}

// left lists the files of checks that are still there.
func (s *objectStore) left(t *testing.T) []string {
	t.Helper()
	var left []string
	err := filepath.WalkDir(s.directory, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.Contains(path, ".preflight") {
			left = append(left, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}
