package serve

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// guard knows one token per user; only "scraper" may read.
func guard() Guard {
	return Guard{
		Authenticator: authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
			name := r.Header.Get("Authorization")
			if name == "" {
				return nil, false, nil
			}
			return &authenticator.Response{User: &user.DefaultInfo{Name: name}}, true, nil
		}),
		Authorizer: authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
			if a.GetUser().GetName() == "scraper" && a.GetVerb() == "get" && a.GetPath() == "/metrics" && !a.IsResourceRequest() {
				return authorizer.DecisionAllow, "", nil
			}
			return authorizer.DecisionNoOpinion, "", nil
		}),
	}
}

// Behaviour 82: metrics answer 401, 403 and 200, and nothing else is served.
func TestMetricsAskWhoAndWhether(t *testing.T) {
	handler := Metrics(guard(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	for _, test := range []struct {
		path, who string
		want      int
	}{
		{"/metrics", "", http.StatusUnauthorized},
		{"/metrics", "somebody", http.StatusForbidden},
		{"/metrics", "scraper", http.StatusOK},
		{"/debug/pprof/", "scraper", http.StatusNotFound},
	} {
		request := httptest.NewRequest(http.MethodGet, test.path, nil)
		request.Header.Set("Authorization", test.who)
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		if answer.Code != test.want {
			t.Errorf("%s as %q: %d, want %d", test.path, test.who, answer.Code, test.want)
		}
	}
}

func TestReadyFollowsTheCaches(t *testing.T) {
	filled := false
	handler := Health(func() bool { return filled })
	code := func(path string) int {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		return answer.Code
	}
	if code("/healthz") != http.StatusOK || code("/readyz") != http.StatusServiceUnavailable {
		t.Error("a starting process is alive but not ready")
	}
	if filled = true; code("/readyz") != http.StatusOK {
		t.Error("not ready although the caches are filled")
	}
}

// Who is not let in costs neither memory nor a connection for good.
func TestNobodyHoldsTheServerUp(t *testing.T) {
	guarded := newServer(Health(func() bool { return true }))
	if guarded.ReadTimeout <= 0 || guarded.WriteTimeout <= 0 || guarded.ReadHeaderTimeout <= 0 || guarded.IdleTimeout <= 0 {
		t.Errorf("a connection may last for ever: %+v", guarded)
	}
	server := httptest.NewUnstartedServer(nil)
	server.Config = guarded
	server.Start()
	defer server.Close()
	for size, want := range map[int]int{8 << 10: http.StatusOK, 128 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+strings.Repeat("x", size))
		answer, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("a header of %d bytes: %d, want %d", size, answer.StatusCode, want)
		}
	}
}
