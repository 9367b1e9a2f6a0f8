// Package webhook serves admission webhooks of the image API server on a port of their own.
//
// In: the address, the serving certificate as the API server reloads it, and the handler. Out: a TLS
// server that takes a renewed certificate over with the next connection, and ends in order.
//
// Whoever reaches the Pod reaches this port, without authentication, so time, headers and the number of
// connections are bounded, and no address gets all of them. What a request may do is the handler's business; none of them reads or changes
// anything for its caller beyond the object in its body.
package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/netutil"
	"k8s.io/klog/v2"
)

const (
	// maxConnections is far above what the API servers of a cluster open.
	maxConnections = 2000
	// maxPerSource of them come from one address, each with maxStreams requests at a time at most.
	maxPerSource  = 200
	maxStreams    = 100
	maxHeader     = 32 << 10
	headerTimeout = 5 * time.Second
	// requestTimeout is longer than kube-apiserver waits for an answer.
	requestTimeout = 10 * time.Second
	idleTimeout    = 90 * time.Second
	drainTimeout   = 5 * time.Second
)

// Certificate holds the current serving certificate and its key, both PEM.
type Certificate interface {
	CurrentCertKeyContent() (cert, key []byte)
}

// Server is a listener that is open and not served yet.
type Server struct {
	listener net.Listener
	http     *http.Server
}

// Listen opens the port.
func Listen(address string, certificate Certificate, handler http.Handler) (*Server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("webhook listener: %w", err)
	}
	pair := &reloaded{source: certificate}
	return &Server{
		listener: listener,
		http: &http.Server{
			Handler:           handler,
			TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: pair.get},
			ReadHeaderTimeout: headerTimeout,
			ReadTimeout:       requestTimeout,
			WriteTimeout:      requestTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeader,
			HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
			ErrorLog:          log.New(quiet{}, "", 0),
		},
	}, nil
}

// Address is where the server listens.
func (s *Server) Address() net.Addr { return s.listener.Addr() }

// Close gives up a server that was never run.
func (s *Server) Close() error { return s.listener.Close() }

// Run serves until the context ends and the requests in flight are answered.
func (s *Server) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() {
		ended <- s.http.ServeTLS(netutil.LimitListener(newPerSource(s.listener, maxPerSource), maxConnections), "", "")
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("webhook listener: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	err := s.http.Shutdown(drain)
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// reloaded parses the certificate again only when it has changed.
type reloaded struct {
	source Certificate

	mu        sync.Mutex
	cert, key []byte
	pair      *tls.Certificate
}

func (r *reloaded) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	cert, key := r.source.CurrentCertKeyContent()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pair != nil && bytes.Equal(cert, r.cert) && bytes.Equal(key, r.key) {
		return r.pair, nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		if r.pair != nil {
			return r.pair, nil // A half-written pair: the old one still serves.
		}
		return nil, fmt.Errorf("serving certificate of the webhooks: %w", err)
	}
	r.cert, r.key, r.pair = cert, key, &pair
	return r.pair, nil
}

// quiet logs what the HTTP server complains about, for example a port scan, only when asked for detail.
type quiet struct{}

func (quiet) Write(line []byte) (int, error) {
	klog.V(4).InfoS("Webhook connection", "message", strings.TrimSpace(string(line)))
	return len(line), nil
}
