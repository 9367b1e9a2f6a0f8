// Package serve is what the operator answers over HTTP.
//
// Two listeners: plain HTTP for the probes of the kubelet (/healthz says the process is alive, /readyz that
// its caches are filled, also on a standby), and HTTPS for metrics. Whoever reads metrics shows a token that
// the API server accepts (else 401) and needs the right to get the path /metrics (else 403); everything else
// is 404.
//
// In: the certificate as it is at each handshake, so that a renewed one is served without a restart, and the
// authenticator and authorizer. Out: answers. It writes nothing to the cluster but reviews.
package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/client-go/kubernetes"
)

const (
	metricsPath   = "/metrics"
	shutdownTime  = 5 * time.Second
	headerTimeout = 10 * time.Second
	// readTimeout covers a body that nobody asked for, writeTimeout the two reviews and the answer.
	readTimeout  = 20 * time.Second
	writeTimeout = time.Minute
	// maxHeader has room for a token of any cluster.
	maxHeader     = 32 << 10
	reviewTimeout = 10 * time.Second
	cacheTTL      = 10 * time.Second
)

// Health answers the probes.
func Health(ready func() bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if ready() {
			answer(w, http.StatusOK, "ok")
			return
		}
		answer(w, http.StatusServiceUnavailable, "caches are not filled yet")
	})
	return mux
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintln(w, text)
}

// Guard asks who a client is and what it may read.
type Guard struct {
	Authenticator authenticator.Request
	Authorizer    authorizer.Authorizer
}

// NewGuard asks the API server, with short caches.
func NewGuard(kube kubernetes.Interface) (Guard, error) {
	backoff := wait.Backoff{Duration: 500 * time.Millisecond, Factor: 1.5, Jitter: 0.2, Steps: 3}
	authn, _, err := authenticatorfactory.DelegatingAuthenticatorConfig{
		TokenAccessReviewClient:  kube.AuthenticationV1(),
		TokenAccessReviewTimeout: reviewTimeout,
		WebhookRetryBackoff:      &backoff,
		CacheTTL:                 cacheTTL,
	}.New()
	if err != nil {
		return Guard{}, fmt.Errorf("metrics: authentication: %w", err)
	}
	authz, err := authorizerfactory.DelegatingAuthorizerConfig{
		SubjectAccessReviewClient: kube.AuthorizationV1(),
		AllowCacheTTL:             cacheTTL,
		DenyCacheTTL:              cacheTTL,
		WebhookRetryBackoff:       &backoff,
	}.New()
	if err != nil {
		return Guard{}, fmt.Errorf("metrics: authorization: %w", err)
	}
	return Guard{Authenticator: authn, Authorizer: authz}, nil
}

// Metrics serves one path to those who may read it.
func Metrics(guard Guard, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+metricsPath, func(w http.ResponseWriter, r *http.Request) {
		who, ok, err := guard.Authenticator.AuthenticateRequest(r)
		if err != nil || !ok {
			answer(w, http.StatusUnauthorized, "a bearer token of the cluster is required")
			return
		}
		decision, _, err := guard.Authorizer.Authorize(r.Context(), authorizer.AttributesRecord{
			User: who.User, Verb: "get", Path: metricsPath,
		})
		if err != nil || decision != authorizer.DecisionAllow {
			answer(w, http.StatusForbidden, who.User.GetName()+" may not get the path /metrics; bind ClusterRole registry-monitoring")
			return
		}
		metrics.ServeHTTP(w, r)
	})
	return mux
}

// Certificate returns the present pair, or an error while there is none.
type Certificate func() (*tls.Certificate, error)

// newServer gives nobody a connection for longer than an honest scrape takes, whatever he sends or does not read.
func newServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeader,
	}
}

// Listen serves until ctx ends. Without a certificate it speaks plain HTTP.
func Listen(ctx context.Context, address string, handler http.Handler, certificate Certificate) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", address, err)
	}
	server := newServer(handler)
	if certificate != nil {
		listener = tls.NewListener(listener, &tls.Config{
			MinVersion: tls.VersionTLS12,
			NextProtos: []string{"http/1.1"},
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				return certificate()
			},
		})
	}
	go func() {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer cancel()
		if server.Shutdown(stop) != nil {
			server.Close()
		}
	}()
	if err := server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", address, err)
	}
	return nil
}
