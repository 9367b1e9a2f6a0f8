package remote

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/oci/remote/keyring"
	"image.alauda.io/registry/test/secondregistry"

	corev1 "k8s.io/api/core/v1"
)

type logins = map[string][2]string

// Behaviour 39.
func TestCredentialsAreTriedInOrder(t *testing.T) {
	for _, tokens := range []bool{false, true} {
		registry := secondregistry.Start(t, secondregistry.Options{Tokens: tokens, Users: map[string]string{"ann": "right"}})
		registry.PushImage(t, "team/app", "v1", secondregistry.Image{})
		client := newClient(t)
		host := registry.Host
		_, port, _ := strings.Cut(host, ":")
		for name, test := range map[string]struct {
			keys *keyring.Keyring
			kind Kind
			text string
		}{
			"none":                       {nil, Unauthorized, "authentication required"},
			"the right one":              {keys(t, logins{host: {"ann", "right"}}), "", ""},
			"the most specific first":    {keys(t, logins{host: {"bob", "wrong"}, host + "/team": {"ann", "right"}}), "", ""},
			"the second one works":       {keys(t, logins{host: {"bob", "wrong"}}, logins{host: {"ann", "right"}}), "", ""},
			"a wildcard":                 {keys(t, logins{"127.0.*.1:" + port: {"ann", "right"}}), "", ""},
			"another port":               {keys(t, logins{"127.0.0.1:1": {"ann", "right"}}), Unauthorized, "authentication required"},
			"another path":               {keys(t, logins{host + "/other": {"ann", "right"}}), Unauthorized, "authentication required"},
			"the first wrong one counts": {keys(t, logins{host: {"ann", "wrong"}}, logins{host: {"bob", "x"}}), Unauthorized, "incorrect username or password"},
		} {
			t.Run(fmt.Sprintf("%s, tokens %v", name, tokens), func(t *testing.T) {
				registry.Forget()
				_, err := client.repository(t, host+"/team/app", true, test.keys).Manifest(t.Context(), "v1")
				if test.kind == "" {
					if err != nil {
						t.Fatal(err)
					}
				} else {
					wantKind(t, err, test.kind, test.text)
				}
				if name == "the most specific first" {
					for _, request := range registry.Requests() {
						if request.User == "bob" {
							t.Error("the credential of the shorter key was tried first")
						}
					}
				}
			})
		}
	}
}

// Behaviour 39.
func TestPublicRepositoriesAreReadDespiteWrongCredentials(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{Tokens: true, Anonymous: true, Users: map[string]string{"ann": "right"}})
	registry.PushImage(t, "app", "v1", secondregistry.Image{})
	r := newClient(t).repository(t, registry.Host+"/app", true, keys(t, logins{registry.Host: {"ann", "wrong"}}, logins{registry.Host: {"bob", "wrong"}}))
	for range 3 {
		if _, err := r.Manifest(t.Context(), "v1"); err != nil {
			t.Fatal(err)
		}
	}
	// Two refused and one granted; what worked is remembered.
	if n := registry.Count("", "/token"); n != 3 {
		t.Errorf("the token service was asked %d times, want 3", n)
	}
}

func TestARegistryMayAskForALoginOnlyWhereItIsNeeded(t *testing.T) {
	for _, tokens := range []bool{false, true} {
		registry := secondregistry.Start(t, secondregistry.Options{Tokens: tokens, Users: map[string]string{"ann": "right"}})
		registry.PushImage(t, "app", "v1", secondregistry.Image{})
		registry.Answer("", "/v2/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") })
		r := newClient(t).repository(t, registry.Host+"/app", true, keys(t, logins{registry.Host: {"ann", "right"}}))
		if _, err := r.Manifest(t.Context(), "v1"); err != nil {
			t.Errorf("tokens %v: %v", tokens, err)
		}
	}
}

func TestForbiddenIsNotMistakenForAWrongPassword(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{Users: map[string]string{"ann": "right"}})
	registry.Fail("", "/v2/app/**", http.StatusForbidden)
	k := keys(t, logins{registry.Host: {"ann", "right"}})
	_, err := newClient(t).repository(t, registry.Host+"/app", true, k).Tags(t.Context(), 0)
	wantKind(t, err, Forbidden, "you may not have access")
}

func TestTokensAreReplacedWhenTheyExpire(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{Tokens: true, Users: map[string]string{"ann": "right"}})
	registry.PushImage(t, "app", "v1", secondregistry.Image{})
	r := newClient(t).repository(t, registry.Host+"/app", true, keys(t, logins{registry.Host: {"ann", "right"}}))
	for range 2 {
		if _, err := r.Manifest(t.Context(), "v1"); err != nil {
			t.Fatal(err)
		}
	}
	if n := registry.Count("", "/token"); n != 1 {
		t.Errorf("%d tokens were issued for two requests, want 1", n)
	}
	registry.ExpireTokens()
	if _, err := r.Manifest(t.Context(), "v1"); err != nil {
		t.Errorf("after the token was withdrawn: %v", err)
	}
	if n := registry.Count("", "/token"); n != 2 {
		t.Errorf("%d tokens were issued, want 2", n)
	}
}

func TestRefreshAndRegistryTokens(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{Tokens: true, Users: map[string]string{"ann": "refresh"}})
	registry.PushImage(t, "app", "v1", secondregistry.Image{})
	client := newClient(t)
	for member, want := range map[string]Kind{"identitytoken": "", "registrytoken": Unauthorized} {
		k, malformed := keyring.FromSecrets([]corev1.Secret{{Type: corev1.SecretTypeDockercfg, Data: map[string][]byte{
			corev1.DockerConfigKey: fmt.Appendf(nil, `{%q:{%q:"refresh"}}`, registry.Host, member),
		}}})
		if len(malformed) != 0 {
			t.Fatal(malformed)
		}
		registry.Forget()
		_, err := client.repository(t, registry.Host+"/app", true, k).Manifest(t.Context(), "v1")
		if want == "" && err != nil {
			t.Errorf("%s: %v", member, err)
		} else if want != "" {
			wantKind(t, err, want, "the token is not accepted")
		}
	}
	// The service knows no refresh tokens; the password beside it is then used.
	registry.Fail(http.MethodPost, "/token", http.StatusNotFound)
	k, _ := keyring.FromSecrets([]corev1.Secret{{Type: corev1.SecretTypeDockercfg, Data: map[string][]byte{
		corev1.DockerConfigKey: fmt.Appendf(nil, `{%q:{"identitytoken":"x","auth":%q}}`, registry.Host,
			base64.StdEncoding.EncodeToString([]byte("ann:refresh"))),
	}}})
	if _, err := client.repository(t, registry.Host+"/app", true, k).Manifest(t.Context(), "v1"); err != nil {
		t.Error(err)
	}
}

// recorder is a host that remembers the Authorization headers that it saw.
type recorder struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string
}

func record(t *testing.T, tls bool, answer http.HandlerFunc) *recorder {
	t.Helper()
	r := &recorder{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		r.mu.Lock()
		r.seen = append(r.seen, request.Header.Get("Authorization"))
		r.mu.Unlock()
		answer(w, request)
	})
	if tls {
		r.Server = httptest.NewTLSServer(handler)
	} else {
		r.Server = httptest.NewServer(handler)
	}
	t.Cleanup(r.Close)
	return r
}

func (r *recorder) requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.seen...)
}

// A registry that names somebody else's token service must not make us send its users' passwords there.
//
// Behaviour 40.
func TestForeignTokenServicesNeverSeeCredentials(t *testing.T) {
	foreign := record(t, false, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"token":"worthless"}`)
	})
	_, port, _ := strings.Cut(foreign.Listener.Addr().String(), ":")
	for name, realm := range map[string]string{
		"another host":            "http://tokens.example.net:" + port + "/token",
		"a user in the address":   "http://ann:right@127.0.0.1:" + port + "/token",
		"a suffix of the address": "http://0.0.1:" + port + "/token",
	} {
		t.Run(name, func(t *testing.T) {
			registry := secondregistry.Start(t, secondregistry.Options{Tokens: true, Realm: realm, Users: map[string]string{"ann": "right"}})
			registry.PushImage(t, "app", "v1", secondregistry.Image{})
			client := newClient(t, func(_ *Options, f *fixture) {
				f.names["tokens.example.net"], f.names["0.0.1"] = "127.0.0.1", "127.0.0.1"
			})
			_, err := client.repository(t, registry.Host+"/app", true, keys(t, logins{registry.Host: {"ann", "right"}})).Manifest(t.Context(), "v1")
			if err == nil || strings.Contains(err.Error(), "right") {
				t.Errorf("error is %v, want one without the password", err)
			}
			if name == "another host" {
				wantKind(t, err, Unauthorized, "not shown the password")
			}
			for _, authorization := range foreign.requests() {
				if authorization != "" {
					t.Error("the foreign token service got a credential")
				}
			}
		})
	}
	if len(foreign.requests()) == 0 {
		t.Error("the foreign token service was never asked: nothing was tested")
	}
}

// The choice of credentials already leaves them out; the exchange itself must not depend on that.
//
// Behaviour 40.
func TestTheExchangeItselfWithholdsCredentialsFromForeignServices(t *testing.T) {
	foreign := record(t, false, func(w http.ResponseWriter, request *http.Request) {
		if request.ParseForm() != nil || request.Method != http.MethodGet || request.Form.Has("refresh_token") {
			t.Errorf("the foreign token service got %s with a form", request.Method)
		}
		fmt.Fprint(w, `{"token":"worthless"}`)
	})
	client := newClient(t)
	s := newSource(client.Client, location{host: "registry.example.com", path: "app", insecure: true}, nil, nil, false)
	ch := &challenge{Scheme: "Bearer", Parameters: map[string]string{"realm": foreign.URL}}
	for _, c := range []Credential{{Username: "ann", Password: "right"}, {IdentityToken: "refresh"}} {
		if _, err := s.exchange(t.Context(), ch, c); err != nil {
			t.Error(err)
		}
	}
	if got := foreign.requests(); len(got) != 2 || got[0]+got[1] != "" {
		t.Errorf("%d requests, with credentials: %v", len(got), strings.Join(got, "") != "")
	}
}

func TestTokenServicesOfTheSameDomainSeeTheCredential(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{Tokens: true, Users: map[string]string{"ann": "right"}})
	_, port, _ := strings.Cut(registry.Host, ":")
	other := secondregistry.Start(t, secondregistry.Options{Tokens: true, Realm: "http://auth.example.com:" + port + "/token", Users: map[string]string{"x": "y"}})
	// Both stand for one registry: the token of the one service is good for the other address, too.
	other.Answer("", "/v2/app/**", func(w http.ResponseWriter, request *http.Request) { registry.ServeHTTP(w, request) })
	registry.PushImage(t, "app", "v1", secondregistry.Image{})
	client := newClient(t, func(_ *Options, f *fixture) {
		f.names["auth.example.com"], f.names["registry.example.com"] = "127.0.0.1", "127.0.0.1"
	})
	_, otherPort, _ := strings.Cut(other.Host, ":")
	name := "registry.example.com:" + otherPort
	if _, err := client.repository(t, name+"/app", true, keys(t, logins{name: {"ann", "right"}})).Manifest(t.Context(), "v1"); err != nil {
		t.Error(err)
	}
}

func TestTokenServicesMustNotRedirectElsewhere(t *testing.T) {
	foreign := record(t, false, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"token":"x"}`) })
	registry := secondregistry.Start(t, secondregistry.Options{Tokens: true, Users: map[string]string{"ann": "right"}})
	registry.Answer("", "/token", func(w http.ResponseWriter, request *http.Request) {
		http.Redirect(w, request, foreign.URL, http.StatusTemporaryRedirect)
	})
	_, err := newClient(t).repository(t, registry.Host+"/app", true, keys(t, logins{registry.Host: {"ann", "right"}})).Tags(t.Context(), 0)
	wantKind(t, err, Blocked, "token service")
	if n := len(foreign.requests()); n != 0 {
		t.Errorf("the other host got %d requests, want none", n)
	}
}

func TestSameOwner(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"registry-1.docker.io", "auth.docker.io", true},
		{"Registry.Example.com", "registry.example.com.", true},
		{"registry.example.co.uk", "auth.example.co.uk", true},
		{"a.co.uk", "b.co.uk", false},
		{"a.github.io", "b.github.io", false},
		{"example.com", "example.com.evil.net", false},
		{"example.com", "notexample.com", false},
		{"registry.team-a.svc", "auth.team-a.svc", true},
		{"registry.team-a.svc", "auth.team-b.svc", false},
		{"registry.team-a.svc.cluster.local", "auth.team-b.svc.cluster.local", false},
		{"registry.team-a.svc.cluster.local", "auth.team-a.svc.cluster.local", true},
		{"registry.team-a.svc", "auth.team-a.svc.cluster.local", true},
		{"registry.team-a.svc", "auth.team-a.svc.evil.net", false},
		{"registry.team-a.svc.corp.example.com", "auth.team-a.svc.evil.net", false},
		{"registry.team-a.svc.corp.example.com", "auth.team-b.svc.corp.example.com", false},
		{"registry.team-a.svc.corp.example.com", "auth.team-a.svc.corp.example.com", true},
		{"registry.svc.example.com", "registry.svc.evil.net", false},
		{"registry.svc.example.com", "auth.example.com", true},
		{"pod.registry.team-a.svc.cluster.local", "auth.team-a.svc", true},
		{"xn--exmple-cua.com", "ex\u00e4mple.com", false},
		{"10.0.0.5", "10.0.0.5", true},
		{"10.0.0.5", "11.0.0.5", false},
		{"fd00::1", "fd00::2", false},
		{"localhost", "localhost", true},
		{"com", "com", true},
		{"", "", false},
	} {
		if got := sameOwner(test.a, test.b); got != test.want {
			t.Errorf("%q and %q: %v, want %v", test.a, test.b, got, test.want)
		}
	}
}

func TestManyRequestsBeginWithOnePingAndOneToken(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{Tokens: true, Users: map[string]string{"ann": "right"}})
	registry.PushImage(t, "app", "v1", secondregistry.Image{})
	r := newClient(t).repository(t, registry.Host+"/app", true, keys(t, logins{registry.Host: {"ann", "right"}}))
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if _, err := r.Manifest(t.Context(), "v1"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if pings, tokens := registry.Count("", "/v2/"), registry.Count("", "/token"); pings != 1 || tokens != 1 {
		t.Errorf("%d pings and %d requests for tokens, want one of each", pings, tokens)
	}
}

func FuzzChallenge(f *testing.F) {
	f.Add(`Bearer realm="https://auth.example.com/token",service="x",scope="repository:a:pull"`)
	f.Add(`Basic realm="x"`)
	f.Add(`Negotiate, Bearer realm=`)
	f.Add(`Bearer realm="\`)
	f.Fuzz(func(t *testing.T, header string) {
		found := challengeOf(t.Context(), "registry.example.com", http.Header{"Www-Authenticate": {header}})
		if found == nil {
			return
		}
		s := &source{connect: "registry.example.com"}
		realm, trusted := s.realm(found)
		if trusted && (realm.Scheme != "https" || !strings.HasSuffix(strings.TrimSuffix(strings.ToLower(realm.Hostname()), "."), "example.com")) {
			t.Errorf("%q is trusted with the credential: %v", header, realm)
		}
	})
}

func FuzzParseToken(f *testing.F) {
	f.Add([]byte(`{"token":"a","expires_in":300}`))
	f.Add([]byte(`{"access_token":"a b"}`))
	f.Add([]byte(`{"token":"a","expires_in":1e300}`))
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, body []byte) {
		issued, ok := parseToken(body, now)
		if !ok {
			return
		}
		if life := issued.expires.Sub(now); life <= 0 || life > time.Hour {
			t.Errorf("token lives %v", life)
		}
		if strings.ContainsAny(issued.text, "\r\n ") || issued.text == "" {
			t.Errorf("token %q cannot be a header", issued.text)
		}
	})
}
