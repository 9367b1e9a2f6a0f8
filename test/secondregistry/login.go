package secondregistry

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

const tokenPath = "/token"

// tokenService remembers the tokens that it gave away.
type tokenService struct {
	mu     sync.Mutex
	issued map[string]string // token to scope
}

// ExpireTokens makes every token that was given away worthless.
func (r *Registry) ExpireTokens() {
	r.tokens.mu.Lock()
	defer r.tokens.mu.Unlock()
	r.tokens.issued = nil
}

func (r *Registry) admits(request *http.Request) bool {
	if len(r.options.Users) == 0 && !r.options.Tokens {
		return true
	}
	if !r.options.Tokens {
		return r.knows(request)
	}
	token, ok := strings.CutPrefix(request.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return false
	}
	r.tokens.mu.Lock()
	scope, known := r.tokens.issued[token]
	r.tokens.mu.Unlock()
	return known && (request.URL.Path == "/v2/" || scope == scopeOf(request))
}

func (r *Registry) knows(request *http.Request) bool {
	user, password, ok := request.BasicAuth()
	wanted, known := r.options.Users[user]
	return ok && known && password == wanted
}

func (r *Registry) challenge(w http.ResponseWriter, request *http.Request) {
	challenge := `Basic realm="second registry"`
	if r.options.Tokens {
		realm := r.options.Realm
		if realm == "" {
			realm = r.URL + tokenPath
		}
		challenge = fmt.Sprintf(`Bearer realm=%q,service="second registry"`, realm)
		if scope := scopeOf(request); scope != "" {
			challenge += fmt.Sprintf(`,scope=%q`, scope)
		}
	}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	w.Header().Set("Www-Authenticate", challenge)
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = w.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`))
}

// serveToken gives a token for the scope that is asked for, to known users or to everybody.
func (r *Registry) serveToken(w http.ResponseWriter, request *http.Request) {
	_, _, login := request.BasicAuth()
	allowed := r.knows(request) || !login && (r.options.Anonymous || len(r.options.Users) == 0)
	scope := request.URL.Query().Get("scope")
	if request.Method == http.MethodPost {
		// The password of a user is his refresh token, too.
		for _, password := range r.options.Users {
			allowed = allowed || request.FormValue("refresh_token") == password
		}
		scope = request.FormValue("scope")
	}
	if !allowed {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	token := rand.Text()
	r.tokens.mu.Lock()
	if r.tokens.issued == nil {
		r.tokens.issued = map[string]string{}
	}
	r.tokens.issued[token] = scope
	r.tokens.mu.Unlock()
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": 300})
}

// scopeOf is the scope that reading a path needs: repository:<name>:pull.
func scopeOf(request *http.Request) string {
	name := strings.TrimPrefix(request.URL.Path, "/v2/")
	for _, noun := range []string{"/manifests/", "/blobs/", "/tags/", "/referrers/"} {
		if i := strings.LastIndex(name, noun); i > 0 {
			return "repository:" + name[:i] + ":pull"
		}
	}
	return ""
}

func authorizationScheme(request *http.Request) string {
	scheme, _, _ := strings.Cut(request.Header.Get("Authorization"), " ")
	return scheme
}
