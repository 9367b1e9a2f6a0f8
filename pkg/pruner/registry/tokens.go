package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
)

const (
	// requestedLife is how long a requested token is to live; it is used for half of what it got.
	requestedLife = time.Hour
	maxToken      = 64 << 10
)

// ErrNoToken: the kubeconfig has no token, for example because it has a client certificate.
var ErrNoToken = errors.New("the kubeconfig holds no token that the registry could check: give one with --registry-token-file or --as-service-account")

// TokenError is a source of tokens that failed. It never holds a token.
type TokenError struct{ Err error }

// Error implements error.
func (e *TokenError) Error() string { return "token for the registry: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *TokenError) Unwrap() error { return e.Err }

// TokenSource yields the token of this moment. fresh asks for another one than last time, because that was
// refused.
type TokenSource interface {
	Token(ctx context.Context, fresh bool) (string, error)
}

// FileTokens reads a file every time: projected tokens are replaced while a run goes on.
type FileTokens struct{ Path string }

// Token implements TokenSource.
func (f FileTokens) Token(context.Context, bool) (string, error) {
	info, err := os.Stat(f.Path)
	if err != nil {
		return "", err
	}
	if info.Size() > maxToken {
		return "", fmt.Errorf("%s is too large for a token", f.Path)
	}
	raw, err := os.ReadFile(f.Path)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(raw))
	if !isToken(token) {
		return "", fmt.Errorf("%s holds no token", f.Path)
	}
	return token, nil
}

// ServiceAccountTokens requests tokens of a ServiceAccount from the API server.
type ServiceAccountTokens struct {
	Kube            kubernetes.Interface
	Namespace, Name string
	Clock           clock.PassiveClock

	mu    sync.Mutex
	token string
	until time.Time
}

// Token implements TokenSource. A token is asked for again when half its life is over.
func (s *ServiceAccountTokens) Token(ctx context.Context, fresh bool) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Clock.Now()
	if !fresh && s.token != "" && now.Before(s.until) {
		return s.token, nil
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To(int64(requestedLife / time.Second))}}
	issued, err := s.Kube.CoreV1().ServiceAccounts(s.Namespace).CreateToken(ctx, s.Name, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("request for ServiceAccount %s/%s: %w", s.Namespace, s.Name, err)
	}
	if !isToken(issued.Status.Token) {
		return "", fmt.Errorf("request for ServiceAccount %s/%s: the answer holds no token", s.Namespace, s.Name)
	}
	s.token = issued.Status.Token
	s.until = now.Add(min(issued.Status.ExpirationTimestamp.Sub(now), requestedLife) / 2)
	return s.token, nil
}

// KubeconfigTokens yields what the client of the API server would send as its bearer token at this moment,
// from wherever the kubeconfig takes it: a file, a plugin, an identity provider.
type KubeconfigTokens struct {
	// wrapped adds credentials to a request that goes nowhere.
	wrapped http.RoundTripper
}

// NewKubeconfigTokens returns the source of a client configuration, which is not changed.
func NewKubeconfigTokens(config *rest.Config) (TokenSource, error) {
	if config.BearerTokenFile != "" {
		return FileTokens{Path: config.BearerTokenFile}, nil
	}
	config = rest.CopyConfig(config)
	config.WrapTransport, config.Impersonate = nil, rest.ImpersonationConfig{}
	settings, err := config.TransportConfig()
	if err != nil {
		return nil, err
	}
	wrapped, err := transport.HTTPWrappersForConfig(settings, capture{})
	if err != nil {
		return nil, err
	}
	return &KubeconfigTokens{wrapped: wrapped}, nil
}

// Token implements TokenSource. A plugin takes the status of an answer for the verdict about its last token,
// so a refused one is reported before the next is asked for.
func (k *KubeconfigTokens) Token(ctx context.Context, fresh bool) (string, error) {
	if fresh {
		if _, err := k.authorization(ctx, http.StatusUnauthorized); err != nil {
			return "", err
		}
	}
	header, err := k.authorization(ctx, http.StatusOK)
	if err != nil {
		return "", err
	}
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") || !isToken(token) {
		return "", ErrNoToken
	}
	return token, nil
}

// authorization returns the header of a request that is answered with the status.
func (k *KubeconfigTokens) authorization(ctx context.Context, status int) (string, error) {
	caught := &caught{status: status}
	request, err := http.NewRequestWithContext(context.WithValue(ctx, caughtKey{}, caught), http.MethodGet, "https://kubeconfig.invalid/", nil)
	if err != nil {
		return "", err
	}
	response, err := k.wrapped.RoundTrip(request)
	if err != nil {
		return "", err
	}
	return caught.authorization, response.Body.Close()
}

type caughtKey struct{}

type caught struct {
	authorization string
	status        int
}

// capture takes the place of the network.
type capture struct{}

// RoundTrip implements http.RoundTripper.
func (capture) RoundTrip(request *http.Request) (*http.Response, error) {
	response := &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: request, Header: http.Header{}}
	if caught, ok := request.Context().Value(caughtKey{}).(*caught); ok {
		caught.authorization, response.StatusCode = request.Header.Get("Authorization"), caught.status
	}
	return response, nil
}

// isToken accepts what can stand in a header: a token of a hostile file must not become one of its own.
func isToken(token string) bool {
	if token == "" || len(token) > maxToken {
		return false
	}
	for _, r := range token {
		if r <= ' ' || r > '~' {
			return false
		}
	}
	return true
}
