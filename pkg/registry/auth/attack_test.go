package auth_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/auth/authtest"
)

// An API server reads a token up to the first space. A token with something behind it would
// be verified as it is, but judged and remembered by another text.
func TestOneTokenHasOneSpelling(t *testing.T) {
	f := newFixture(t)
	f.reviewer.AddToken("good", auth.Identity{Username: "dev"})
	for _, spelling := range []string{"good x", "good x.y", "go\tod", "go\nod", "good\x00", "\x01good", "good\x7f", " ", "\n"} {
		f.reviewer.AddToken(spelling, auth.Identity{Username: "dev"})
		before := f.reviewer.TokenReviews()
		if identity, err := f.authenticator.Token(t.Context(), spelling); !errors.Is(err, auth.ErrInvalidCredentials) || f.reviewer.TokenReviews() != before {
			t.Errorf("%q: %+v, %v", spelling, identity, err)
		}
	}
	before := f.reviewer.TokenReviews()
	for _, spelling := range []string{"good", " good", "good\n", "\r\n\tgood \r\n"} {
		value := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+spelling))
		if identity, err := f.authenticator.Authenticate(t.Context(), header(value)); err != nil || identity.Username != "dev" {
			t.Errorf("%q: %+v, %v", spelling, identity, err)
		}
	}
	if got := f.reviewer.TokenReviews() - before; got != 1 {
		t.Errorf("%d reviews for one token", got)
	}
}

// Denials are made by whoever likes; permissions must survive them.
func TestDenialsPushOutNoPermission(t *testing.T) {
	f := newFixture(t)
	f.reviewer.AllowRepository("dev", "team", "app", "get")
	dev := auth.Identity{Username: "dev"}
	allowed := func() {
		t.Helper()
		if decision, err := f.authorizer.Authorize(t.Context(), dev, auth.Layers("get", "team", "app")); err != nil || !decision.Allowed {
			t.Fatalf("%+v, %v", decision, err)
		}
	}
	allowed()
	for i := range 16384 + 10 {
		if _, err := f.authorizer.Authorize(t.Context(), auth.Anonymous(), auth.Layers("get", "team", fmt.Sprint("made-up-", i))); err != nil {
			t.Fatal(err)
		}
	}
	before := len(f.reviewer.AccessReviews())
	allowed()
	if got := len(f.reviewer.AccessReviews()) - before; got != 0 {
		t.Errorf("%d reviews of what was known", got)
	}
}

// Identities that differ in anything are never taken for each other.
func TestDecisionsAreOfOneIdentity(t *testing.T) {
	identities := []auth.Identity{
		{Username: "dev"}, {Username: "dev\x00"}, {Username: "dev", UID: "1"}, {Username: "dev\",\"UID\":\"1"}, {Username: "dev", Groups: []string{"a", "b"}},
		{Username: "dev", Groups: []string{"a,b"}}, {Username: "dev", Groups: []string{"ab"}}, {Username: "dev", Groups: []string{"a"}, Extra: map[string][]string{"b": nil}},
		{Username: "dev", Extra: map[string][]string{"a": {"b", "c"}}}, {Username: "dev", Extra: map[string][]string{"a": {"b"}, "c": nil}}, {Username: "dev", Extra: map[string][]string{"a": {"bc"}}},
		{Username: "dev\xff"}, {Username: "dev\xfe"}, {Username: "dev\ufffd"}, {Username: "dev", PullOnly: true},
		{Username: "system:anonymous"}, auth.Anonymous(),
	}
	f := newFixture(t)
	for range 2 {
		for _, identity := range identities {
			if _, err := f.authorizer.Authorize(t.Context(), identity, auth.Layers("get", "team", "app")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := len(f.reviewer.AccessReviews()); got != len(identities) {
		t.Errorf("%d reviews for %d identities", got, len(identities))
	}
}

// crowd counts the reviews that run at the same time; each waits for the test.
type crowd struct {
	authtest.Reviewer
	mu            sync.Mutex
	running, most int
	proceed       chan struct{}
	panicsOn      string
}

func (c *crowd) ReviewToken(ctx context.Context, token string, _ []string) (auth.TokenResult, error) {
	if c.panicsOn != "" && token == c.panicsOn {
		panic("no such thing")
	}
	c.mu.Lock()
	c.running++
	c.most = max(c.most, c.running)
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.running--
	}()
	if strings.HasPrefix(token, "made-up") {
		select {
		case <-c.proceed:
		case <-ctx.Done():
			return auth.TokenResult{}, ctx.Err()
		}
		return auth.TokenResult{}, nil
	}
	return auth.TokenResult{Authenticated: true, Identity: auth.Identity{Username: "dev"}}, nil
}

// Each made-up token costs a review. One source of thousands of them may not ask the API
// server for all at once, nor keep the others from being asked for.
func TestFloodOfMadeUpTokensIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reviewer := &crowd{proceed: make(chan struct{})}
		authenticator, err := auth.NewAuthenticator(reviewer, auth.Options{Now: time.Now, TokenTTL: time.Minute, TokenFailureTTL: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		hostile := auth.WithSource(t.Context(), "198.18.0.66:1")
		var mu sync.Mutex
		outcomes := map[error]int{}
		for i := range 1000 {
			go func() {
				_, err := authenticator.Token(hostile, fmt.Sprint("made-up-", i))
				mu.Lock()
				defer mu.Unlock()
				for _, kind := range []error{auth.ErrBusy, auth.ErrInvalidCredentials} {
					if errors.Is(err, kind) {
						outcomes[kind]++
					}
				}
			}()
		}
		synctest.Wait()
		if reviewer.most != 16 || outcomes[auth.ErrBusy] != 1000-16-256 {
			t.Errorf("%d reviews at once, %d refused", reviewer.most, outcomes[auth.ErrBusy])
		}
		if identity, err := authenticator.Token(auth.WithSource(t.Context(), "198.18.0.1:1"), "good"); err != nil || identity.Username != "dev" {
			t.Errorf("another source: %v, %v", identity, err)
		}
		close(reviewer.proceed)
		synctest.Wait()
		if outcomes[auth.ErrInvalidCredentials] != 16+256 {
			t.Errorf("%d were judged", outcomes[auth.ErrInvalidCredentials])
		}
		if _, err := authenticator.Token(hostile, "good-2"); err != nil {
			t.Errorf("the same source afterwards: %v", err)
		}
	})
}

// Clients that come and go leave no queue of reviews behind that others wait in.
func TestFloodOfManySourcesIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reviewer := &crowd{proceed: make(chan struct{})}
		authenticator, err := auth.NewAuthenticator(reviewer, auth.Options{Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5000 {
			go func() {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				_, _ = authenticator.Token(auth.WithSource(ctx, fmt.Sprintf("[2001:db8:0:%x::%x]:1", i/100, i)), fmt.Sprint("made-up-", i))
			}()
		}
		synctest.Wait()
		if reviewer.most != 64 {
			t.Errorf("%d reviews at once", reviewer.most)
		}
		time.Sleep(11 * time.Second) // in the bubble: the end of all reviews
		synctest.Wait()
		if _, err := authenticator.Token(t.Context(), "good"); err != nil {
			t.Errorf("after the flood: %v", err)
		}
	})
}

// A panic in the goroutine that callers share would end the registry.
func TestPanicInAReviewIsAnError(t *testing.T) {
	authenticator, err := auth.NewAuthenticator(&crowd{panicsOn: "evil"}, auth.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := authenticator.Token(t.Context(), "evil"); err == nil || errors.Is(err, auth.ErrInvalidCredentials) || strings.Contains(err.Error(), "evil") {
		t.Errorf("got %v", err)
	}
	if identity, err := authenticator.Token(t.Context(), "good"); err != nil || identity.Username != "dev" {
		t.Errorf("afterwards: %+v, %v", identity, err)
	}
}
