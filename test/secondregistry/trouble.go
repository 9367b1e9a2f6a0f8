package secondregistry

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"
	"time"
)

// rule answers requests in place of the server.
type rule struct {
	method, pattern string
	answer          http.HandlerFunc
	// cancel ends what the answer waits for.
	cancel context.CancelFunc
}

// Answer lets a handler answer requests with the method ("" for any) to paths that match the pattern
// (see Count), in place of the server. The last rule that matches is used. ** matches everything.
func (r *Registry) Answer(method, pattern string, handler http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trouble = append(r.trouble, rule{method: method, pattern: pattern, answer: handler, cancel: func() {}})
}

// Fail answers with a status.
func (r *Registry) Fail(method, pattern string, status int) {
	r.Answer(method, pattern, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
}

// Throttle answers 429; retryAfter is the header of that name and is left out when it is empty.
func (r *Registry) Throttle(method, pattern, retryAfter string) {
	r.Answer(method, pattern, func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(http.StatusTooManyRequests)
	})
}

// Slow delays the server's own answer. Recover ends the delay at once.
func (r *Registry) Slow(method, pattern string, delay time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trouble = append(r.trouble, rule{method: method, pattern: pattern, cancel: cancel,
		answer: func(w http.ResponseWriter, request *http.Request) {
			timer := time.NewTimer(delay)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
			case <-request.Context().Done():
				return
			}
			if r.admits(request) {
				r.stock.ServeHTTP(w, request)
				return
			}
			r.challenge(w, request)
		}})
}

// Document answers GET and HEAD of a path with fixed content: what the stock server would refuse to store.
func (r *Registry) Document(pattern, contentType string, header http.Header, body []byte) {
	r.Answer("", pattern, func(w http.ResponseWriter, request *http.Request) {
		for key, values := range header {
			w.Header()[key] = values
		}
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		if request.Method != http.MethodHead {
			_, _ = w.Write(body)
		}
	})
}

// Recover ends all trouble.
func (r *Registry) Recover() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rule := range r.trouble {
		rule.cancel()
	}
	r.trouble = nil
}

func (r *Registry) match(request *http.Request) http.HandlerFunc {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.trouble) - 1; i >= 0; i-- {
		rule := r.trouble[i]
		if (rule.method == "" || rule.method == request.Method) && matchPath(rule.pattern, request.URL.Path) {
			return rule.answer
		}
	}
	return nil
}

func matchPath(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "**"); ok {
		return strings.HasPrefix(name, prefix)
	}
	matched, err := path.Match(pattern, name)
	return err == nil && matched
}

// listen replaces the server's listener when a certain address is asked for.
func listen(t testing.TB, server *httptest.Server, address string) {
	t.Helper()
	if address == "" {
		return
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("second registry: %v", err)
	}
	_ = server.Listener.Close()
	server.Listener = listener
}
