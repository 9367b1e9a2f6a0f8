package auth_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/auth/authtest"

	"github.com/google/go-cmp/cmp"
	testingclock "k8s.io/utils/clock/testing"
)

const ownAudience = "image-registry.alauda.io"

type fixture struct {
	reviewer      *authtest.Reviewer
	clock         *testingclock.FakeClock
	authenticator *auth.Authenticator
	authorizer    *auth.Authorizer
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{reviewer: &authtest.Reviewer{}, clock: testingclock.NewFakeClock(time.Unix(1700000000, 0))}
	options := auth.Options{
		Anonymous: true, Audience: ownAudience, Now: f.clock.Now,
		TokenTTL: time.Minute, TokenFailureTTL: 10 * time.Second, AllowTTL: 30 * time.Second, DenyTTL: 5 * time.Second,
	}
	var err error
	if f.authenticator, err = auth.NewAuthenticator(f.reviewer, options); err != nil {
		t.Fatal(err)
	}
	if f.authorizer, err = auth.NewAuthorizer(f.reviewer, options); err != nil {
		t.Fatal(err)
	}
	return f
}

func header(value string) http.Header { return http.Header{"Authorization": {value}} }

// Behaviour 55.
func TestCredentials(t *testing.T) {
	f := newFixture(t)
	f.reviewer.AddToken("good", auth.Identity{Username: "dev"})
	basic := func(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }
	tests := []struct {
		name, header string
		user         string
		err          error
	}{
		{"none", "", "", auth.ErrNoCredentials},
		{"bearer", "Bearer good", "dev", nil},
		{"scheme in another case", "bEARER good", "dev", nil},
		{"basic", basic("anyone:good"), "dev", nil},
		{"anonymous", "Bearer anonymous", "system:anonymous", nil},
		{"bad token", "Bearer bad", "", auth.ErrInvalidCredentials},
		{"empty bearer", "Bearer ", "", auth.ErrInvalidCredentials},
		{"empty password", basic("user:"), "", auth.ErrInvalidCredentials},
		{"no colon", basic("user"), "", auth.ErrInvalidCredentials},
		{"garbage", "Basic %%%", "", auth.ErrInvalidCredentials},
		{"unknown scheme", "Digest good", "", auth.ErrInvalidCredentials},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := http.Header{}
			if test.header != "" {
				h = header(test.header)
			}
			identity, err := f.authenticator.Authenticate(t.Context(), h)
			if !errors.Is(err, test.err) || identity.Username != test.user {
				t.Errorf("got %q, %v; want %q, %v", identity.Username, err, test.user, test.err)
			}
		})
	}
}

// Behaviour 57.
func TestOwnAudience(t *testing.T) {
	f := newFixture(t)
	account := auth.Identity{Username: "system:serviceaccount:team:default"}
	claims := func(audience any, secret string) string {
		c := map[string]any{"aud": audience}
		if secret != "" {
			c["kubernetes.io"] = map[string]any{"secret": map[string]any{"name": secret}}
		}
		return authtest.JWT(c)
	}
	bound := claims([]string{ownAudience}, "default-registry-pull")
	unbound := claims(ownAudience, "")
	foreign := claims("elsewhere", "")
	kubernetes := claims("https://kubernetes.default.svc", "some-secret")
	rejected := claims([]string{ownAudience, "x"}, "")
	f.reviewer.AddToken(bound, account, ownAudience)
	f.reviewer.AddToken(unbound, account, ownAudience)
	f.reviewer.AddToken(foreign, account, "elsewhere")
	f.reviewer.AddToken(kubernetes, account)
	f.reviewer.AddToken(rejected, account, "x")
	tests := []struct {
		name, token   string
		accepted, own bool
	}{
		{"bound to a Secret", bound, true, true},
		{"not bound", unbound, true, false},
		{"foreign audience", foreign, false, false},
		{"API server audience bound to a Secret", kubernetes, true, false},
		{"claims the audience without having it", rejected, false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			identity, err := f.authenticator.Token(t.Context(), test.token)
			if (err == nil) != test.accepted || identity.PullOnly != test.own {
				t.Errorf("%v, pull only %t; want accepted %t, pull only %t", err, identity.PullOnly, test.accepted, test.own)
			}
		})
	}
}

// Behaviour 59.
func TestTokenCacheLifetimes(t *testing.T) {
	f := newFixture(t)
	expiring := authtest.JWT(map[string]any{"exp": f.clock.Now().Add(20 * time.Second).Unix()})
	f.reviewer.AddToken("good", auth.Identity{Username: "dev"})
	f.reviewer.AddToken(expiring, auth.Identity{Username: "dev"})
	steps := []struct {
		wait    time.Duration
		token   string
		reviews int
	}{
		{0, "good", 1}, {59 * time.Second, "good", 1}, {time.Second, "good", 2},
		{0, "bad", 3}, {9 * time.Second, "bad", 3}, {time.Second, "bad", 4},
	}
	for i, step := range steps {
		f.clock.Step(step.wait)
		_, _ = f.authenticator.Token(t.Context(), step.token)
		if got := f.reviewer.TokenReviews(); got != step.reviews {
			t.Fatalf("step %d: %d reviews, want %d", i, got, step.reviews)
		}
	}
	f = newFixture(t)
	f.reviewer.AddToken(expiring, auth.Identity{Username: "dev"})
	for _, wait := range []time.Duration{0, 19 * time.Second, time.Second} {
		f.clock.Step(wait)
		_, _ = f.authenticator.Token(t.Context(), expiring)
	}
	if got := f.reviewer.TokenReviews(); got != 2 {
		t.Errorf("%d reviews, want 2: a result must not outlive its token", got)
	}
}

// Behaviour 59.
func TestFailedReviewsAreNotCached(t *testing.T) {
	f := newFixture(t)
	f.reviewer.AddToken("good", auth.Identity{Username: "dev"})
	f.reviewer.Fail(errors.New("connection refused"))
	_, err := f.authenticator.Token(t.Context(), "good")
	if err == nil || errors.Is(err, auth.ErrInvalidCredentials) {
		t.Fatalf("error %v, want the failed review", err)
	}
	if strings.Contains(err.Error(), "good") {
		t.Errorf("the error %q holds the token", err)
	}
	if _, err := f.authorizer.Authorize(t.Context(), auth.Identity{Username: "dev"}, auth.Prune()); err == nil {
		t.Error("a failed access review gave an answer")
	}
	f.reviewer.Fail(nil)
	if _, err := f.authenticator.Token(t.Context(), "good"); err != nil {
		t.Errorf("after recovery: %v", err)
	}
}

// Behaviour 59.
func TestEqualQuestionsAreAskedOnce(t *testing.T) {
	f := newFixture(t)
	f.reviewer.AddToken("good", auth.Identity{Username: "dev"})
	release := f.reviewer.Hold()
	impatient, cancel := context.WithCancel(t.Context())
	started := make(chan struct{}, 20)
	var wait sync.WaitGroup
	failures := make(chan error, 20)
	for i := range 20 {
		ctx := t.Context()
		if i == 0 {
			ctx = impatient
		}
		wait.Go(func() {
			started <- struct{}{}
			if _, err := f.authenticator.Token(ctx, "good"); err != nil {
				failures <- err
			}
		})
	}
	for range 20 {
		<-started
	}
	cancel()
	release()
	wait.Wait()
	close(failures)
	for err := range failures {
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if got := f.reviewer.TokenReviews(); got != 1 {
		t.Errorf("%d reviews for equal questions, want 1", got)
	}
}

// Behaviour 59.
func TestAccessCacheLifetimes(t *testing.T) {
	f := newFixture(t)
	dev := auth.Identity{Username: "dev", Groups: []string{"a"}}
	access := auth.Layers("get", "team", "app")
	f.reviewer.AllowRepository("dev", "team", "app", "get")
	steps := []struct {
		wait     time.Duration
		identity auth.Identity
		reviews  int
		allowed  bool
	}{
		{0, dev, 1, true}, {29 * time.Second, dev, 1, true}, {time.Second, dev, 2, true},
		{0, auth.Identity{Username: "dev", Groups: []string{"b"}}, 3, true},
		{0, auth.Identity{Username: "other"}, 4, false}, {4 * time.Second, auth.Identity{Username: "other"}, 4, false},
		{time.Second, auth.Identity{Username: "other"}, 5, false},
	}
	for i, step := range steps {
		f.clock.Step(step.wait)
		decision, err := f.authorizer.Authorize(t.Context(), step.identity, access)
		if err != nil || decision.Allowed != step.allowed || len(f.reviewer.AccessReviews()) != step.reviews {
			t.Fatalf("step %d: %+v, %v after %d reviews; want %t after %d", i, decision, err, len(f.reviewer.AccessReviews()), step.allowed, step.reviews)
		}
	}
}

// Behaviour 60.
func TestAttributes(t *testing.T) {
	base := auth.Attributes{Group: "image.alauda.io", Version: "v1"}
	with := func(change func(*auth.Attributes)) auth.Attributes {
		a := base
		change(&a)
		return a
	}
	tests := []struct{ got, want auth.Attributes }{
		{auth.Layers("update", "ns", "st"), with(func(a *auth.Attributes) {
			a.Verb, a.Resource, a.Subresource, a.Namespace, a.Name = "update", "imagestreams", "layers", "ns", "st"
		})},
		{auth.DeleteTag("ns", "st", "v1"), with(func(a *auth.Attributes) {
			a.Verb, a.Resource, a.Namespace, a.Name = "delete", "imagestreamtags", "ns", "st:v1"
		})},
		{auth.CreateStream("ns", "st"), with(func(a *auth.Attributes) {
			a.Verb, a.Resource, a.Namespace, a.Name = "create", "imagestreams", "ns", "st"
		})},
		{auth.Prune(), with(func(a *auth.Attributes) { a.Verb, a.Resource = "delete", "images" })},
		{auth.ListStreams("ns"), with(func(a *auth.Attributes) { a.Verb, a.Resource, a.Namespace = "list", "imagestreams", "ns" })},
		{auth.Metrics()[0], with(func(a *auth.Attributes) { a.Verb, a.Resource, a.Subresource = "get", "registry", "metrics" })},
		{auth.Metrics()[1], auth.Attributes{Verb: "get", Path: "/metrics"}},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Error(diff)
		}
	}
}

// Behaviours 53 and 62.
func TestChallengeOrigin(t *testing.T) {
	tests := []struct {
		name      string
		challenge auth.Challenge
		headers   map[string]string
		host      string
		want      string
	}{
		{name: "request", host: "reg.test:5000", want: "http://reg.test:5000"},
		{name: "configured realm", challenge: auth.Challenge{TokenRealm: "https://tokens.test/", Host: "https://h"}, want: "https://tokens.test"},
		{name: "configured host", challenge: auth.Challenge{Host: "https://h.test"}, want: "https://h.test"},
		{name: "forwarded", headers: map[string]string{"Forwarded": `for=1;proto=https;host="a.test:8443", proto=http`}, want: "https://a.test:8443"},
		{name: "x-forwarded", headers: map[string]string{"X-Forwarded-Proto": "https", "X-Forwarded-Host": "b.test, c", "X-Forwarded-Port": "8443"}, want: "https://b.test:8443"},
		{name: "default port", headers: map[string]string{"X-Forwarded-Proto": "https", "X-Forwarded-Host": "b.test", "X-Forwarded-Port": "443"}, want: "https://b.test"},
		{name: "injection by host", headers: map[string]string{"X-Forwarded-Host": `x",error="y`}, want: "http://server.test:5000"},
		{name: "injection by scheme", headers: map[string]string{"X-Forwarded-Proto": `javascript`}, host: "h", want: "http://h"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
			if test.host != "" {
				r.Host = test.host
			}
			for key, value := range test.headers {
				r.Header.Set(key, value)
			}
			test.challenge.ServerAddr, test.challenge.Service = "server.test:5000", "svc"
			got := test.challenge.Bearer(r, "repository:a/b:pull", "invalid_token")
			want := `Bearer realm="` + test.want + `/alauda/token",service="svc",scope="repository:a/b:pull",error="invalid_token"`
			if got != want {
				t.Errorf("got %s\nwant %s", got, want)
			}
		})
	}
}

func FuzzExpiry(f *testing.F) {
	f.Add(authtest.JWT(map[string]any{"exp": 1700000000, "aud": []string{"a"}}))
	f.Add("a.b.c")
	f.Add(authtest.JWT(map[string]any{"exp": -1e300, "aud": map[string]any{}}))
	f.Fuzz(func(t *testing.T, token string) {
		if expiry, ok := auth.Expiry(token); ok && expiry.Unix() <= 0 {
			t.Fatalf("token %q ends at %s", token, expiry)
		}
	})
}

func FuzzCredential(f *testing.F) {
	f.Add("Bearer x")
	f.Add("Basic dTpw")
	f.Fuzz(func(t *testing.T, header string) {
		if token, ok := auth.Credential(header); ok && token == "" {
			t.Fatalf("header %q gave an empty token", header)
		}
	})
}

// Whoever has no credentials can make up tokens. They must not push those out that were found good.
func TestMadeUpTokensPushOutNoGoodOne(t *testing.T) {
	f := newFixture(t)
	f.reviewer.AddToken("good", auth.Identity{Username: "dev"})
	for i := range 5000 {
		if i == 0 {
			if _, err := f.authenticator.Token(t.Context(), "good"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := f.authenticator.Token(t.Context(), "bad"+strconv.Itoa(i)); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Fatal(err)
		}
	}
	before := f.reviewer.TokenReviews()
	if _, err := f.authenticator.Token(t.Context(), "good"); err != nil || f.reviewer.TokenReviews() != before {
		t.Errorf("the good token was reviewed again: %v", err)
	}
}
