//go:build component

package objectstorage

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"
)

// trouble decides about a request: nil passes it on, otherwise the handler answers.
type trouble func(r *http.Request) http.HandlerFunc

// proxy stands in front of the S3 server and makes trouble on demand.
type proxy struct {
	url string

	mu       sync.Mutex
	trouble  trouble
	requests map[string]int
}

func startProxy(t *testing.T, s3 *s3Server) *proxy {
	t.Helper()
	target, err := url.Parse(s3.url)
	must(t, err)
	p := &proxy{requests: map[string]int{}}
	transport := client().Transport.(*http.Transport)
	transport.DisableKeepAlives = false
	t.Cleanup(transport.CloseIdleConnections)
	forward := &httputil.ReverseProxy{
		Transport: transport,
		// The host is part of the signature.
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer := p.decide(r); answer != nil {
			answer(w, r)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	certificate, key := trusted.pair(t, t.TempDir())
	server.TLS = tlsOf(t, certificate, key)
	server.StartTLS()
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

func (p *proxy) decide(r *http.Request) http.HandlerFunc {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests[r.Method]++
	if p.trouble == nil {
		return nil
	}
	return p.trouble(r)
}

func (p *proxy) make(t trouble) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble = t
}

func (p *proxy) count(method string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests[method]
}

// refuse answers as S3 servers do.
func refuse(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>`+code+`</Code><Message>says the test</Message></Error>`)
	}
}

// cut closes the connection without an answer.
func cut(w http.ResponseWriter, _ *http.Request) {
	if connection, _, err := w.(http.Hijacker).Hijack(); err == nil {
		_ = connection.Close()
	}
}

// hang answers when the client has left.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	select {
	case <-r.Context().Done():
	case <-time.After(time.Minute):
	}
}
