// Package server runs the registry's HTTP server.
//
// It puts around the handlers what every request needs: a request id, an end for
// transfers that stand still, recovery from panics, the access log, metrics
// and the one place that writes refusals. It answers the health checks itself, serves
// TLS with certificates that are read again when their files change, and ends in order:
// not ready first, then a delay, then draining.
//
// It knows nothing of repositories; that is the handlers' part.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/audit"
	"image.alauda.io/registry/pkg/registry/handlers"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/tracing"

	"github.com/google/uuid"
	"go.uber.org/zap"
)

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 120 * time.Second
	maxHeader     = 64 << 10
)

// Options of a Server.
type Options struct {
	// IOTimeout ends a transfer that makes no progress.
	IOTimeout time.Duration
	// ShutdownDelay is how long requests are still taken after the end was asked for,
	// DrainTimeout how long running requests may take after that.
	ShutdownDelay, DrainTimeout time.Duration
	// Headers are added to every answer.
	Headers http.Header
	// AccessLog switches the line per request.
	AccessLog bool
	// Audit is told about every request; nil for nobody.
	Audit *audit.Logger
	// Tracing is nil for none.
	Tracing *tracing.Tracing
	// TLS is nil for plain HTTP.
	TLS *tls.Config
	// HTTP2 switches HTTP/2.
	HTTP2 bool
}

// Server serves one registry.
type Server struct {
	options  Options
	handlers *handlers.Handlers
	health   *Health
	metrics  *Metrics
	log      *zap.Logger
	failures *failures
}

// New returns a Server; Handler or Run use it.
func New(options Options, h *handlers.Handlers, health *Health, metrics *Metrics, log *zap.Logger) *Server {
	return &Server{options: options, handlers: h, health: health, metrics: metrics, log: log, failures: newFailures(log, time.Now)}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	record := &handlers.Record{ID: requestID(r), Method: r.Method}
	watch := newWatch(w, r, s.options.IOTimeout)
	out, in := newResponse(w, r, watch), newBody(r.Body, watch)
	// In a copy: net/http looks at the body of its own request to see whether a refusal was
	// written before everything was read. Then it closes gently, so that the answer is not
	// lost to a client that is still sending.
	r, span := s.options.Tracing.Serve(r.WithContext(r.Context()))
	r.Body = in
	header := out.Header()
	for name, values := range s.options.Headers {
		header[name] = values
	}
	header.Set("X-Request-Id", record.ID)
	s.metrics.inFlight.Inc()
	defer s.metrics.inFlight.Dec()

	gone := s.serve(out, r, record)
	gone = gone || out.flush()
	in.finish()
	watch.end()
	status := out.status
	if gone {
		status = statusClientGone
	}
	s.metrics.observe(record, status, start, in, out)
	s.logRequest(r, record, status, start, in, out)
	s.auditRequest(r, record, status, out)
	span.End(func() tracing.Result { return traced(record, status, in, out) })
	if gone {
		// Returning would make net/http send 200 to a client that is still there, for
		// example one that stopped in the middle of its body.
		panic(http.ErrAbortHandler)
	}
}

// serve answers the request and reports whether the client left.
func (s *Server) serve(w *response, r *http.Request, record *handlers.Record) (gone bool) {
	defer func() {
		if reason := recover(); reason != nil {
			gone = s.recovered(w, r, record, reason)
		}
	}()
	switch r.URL.Path {
	case "/", "/livez", "/readyz", "/healthz":
		record.Route, _ = route.Parse(r.URL, "") // constant paths have no errors
		s.health.serve(w, r, record.Route.Kind)
		return false
	}
	if isAPI(r.URL.Path) {
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		if s.handlers.ServesSignatures() { // clients that see this ask for them, and end when nobody answers
			w.Header().Set("X-Registry-Supports-Signatures", "1")
		}
	}
	err := s.handlers.Handle(w, r, record)
	if err == nil {
		return w.failed
	}
	if errors.Is(err, handlers.ErrClientGone) {
		s.log.Debug("client left", zap.String("request_id", record.ID), zap.Error(err))
		return true
	}
	refusal := apierror.From(err)
	record.Refusal = refusal
	s.failures.write(record.ID, refusal, err)
	if !w.wroteHeader {
		apierror.Write(w, r, record.ID, refusal)
	}
	return false
}

// recovered keeps the process alive and answers 500 if nothing was sent yet.
func (s *Server) recovered(w *response, r *http.Request, record *handlers.Record, reason any) (gone bool) {
	if err, ok := reason.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		return true
	}
	s.metrics.panics.Inc()
	s.log.Error("panic in a handler", zap.String("request_id", record.ID), zap.Any("reason", reason), zap.ByteString("stack", debug.Stack()))
	record.Refusal = apierror.New(http.StatusInternalServerError, apierror.CodeUnknown, "internal error")
	if !w.wroteHeader {
		apierror.Write(w, r, record.ID, record.Refusal)
	}
	return false
}

func isAPI(path string) bool {
	return path == "/v2" || len(path) >= 4 && path[:4] == "/v2/"
}

// requestID takes over the id of a proxy in front when it is harmless to log.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if id == "" || len(id) > 64 {
		return uuid.NewString()
	}
	for _, c := range id {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' && c != '.' {
			return uuid.NewString()
		}
	}
	return id
}

// Run serves on the listener until the context ends, then shuts down in order: not
// ready, delay, drain. It closes the listener.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	server := s.httpServer()
	serveContext, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	server.BaseContext = func(net.Listener) context.Context { return serveContext }
	failed := make(chan error, 1)
	go func() {
		if s.options.TLS != nil {
			failed <- server.ServeTLS(gatheringListener{listener}, "", "")
			return
		}
		failed <- server.Serve(listener)
	}()
	select {
	case err := <-failed:
		return fmt.Errorf("serve on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	s.health.ShutDown()
	s.log.Info("shutting down", zap.Duration("delay", s.options.ShutdownDelay))
	timer := time.NewTimer(s.options.ShutdownDelay)
	defer timer.Stop()
	select {
	case err := <-failed:
		return fmt.Errorf("serve on %s: %w", listener.Addr(), err)
	case <-timer.C:
	}
	drain, cancel := context.WithTimeout(serveContext, s.options.DrainTimeout)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		s.log.Warn("requests were still running at the end", zap.Error(err))
		_ = server.Close() // the process ends anyway
	}
	return nil
}

func connectionContext(ctx context.Context, connection net.Conn) context.Context {
	return withGatherer(withConnection(ctx, connection), connection)
}

func (s *Server) httpServer() *http.Server {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(s.options.HTTP2 && s.options.TLS != nil)
	return &http.Server{
		Handler: s, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		TLSConfig: s.options.TLS, Protocols: protocols, ConnContext: connectionContext,
		ErrorLog: zap.NewStdLog(s.log.Named("http")),
	}
}
