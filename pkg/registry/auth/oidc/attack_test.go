package oidc

import (
	"context"
	"crypto/rsa"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// A provider that puts nothing before its names must not make users and groups of Kubernetes
// itself: whoever may name a group there would be an administrator here.
func TestNamesOfKubernetesAreNotTheProvidersToGive(t *testing.T) {
	p := newProvider(t)
	p.publish("one", jose.RS256, rsaKey())
	bare := func(o *Options) { o.UsernamePrefix, o.GroupsPrefix = "-", "" }
	for _, name := range []string{"system:admin", "system:anonymous", "system:serviceaccount:kube-system:default", "system:"} {
		refused(t, name, p.verifier(bare), p.token(map[string]any{"sub": name}))
		if got := accepted(t, name, p.verifier(), p.token(map[string]any{"sub": name})); got.Username != p.server.URL+"#"+name {
			t.Errorf("%s became %s", name, got.Username)
		}
	}
	claims := map[string]any{"groups": []string{"dev", "system:masters", "System:masters", "system:authenticated", "system:unauthenticated"}}
	got := accepted(t, "groups", p.verifier(bare), p.token(claims))
	if want := []string{"dev", "System:masters", "system:authenticated"}; !slices.Equal(got.Groups, want) {
		t.Errorf("groups %q, want %q", got.Groups, want)
	}
	chosen := func(o *Options) { o.UsernamePrefix, o.GroupsPrefix = "system:idp:", "system:idp:" }
	got = accepted(t, "a prefix of the administrator", p.verifier(chosen), p.token(nil))
	if got.Username != "system:idp:jane" || !slices.Contains(got.Groups, "system:idp:dev") {
		t.Errorf("got %+v", got)
	}
}

// Keycloak and others send nbf 0 for tokens that are good at once; kube-apiserver takes them.
func TestBeginningZeroIsNone(t *testing.T) {
	p := newProvider(t)
	p.publish("one", jose.RS256, rsaKey())
	for what, begin := range map[string]any{"zero": 0, "null": nil, "a fraction": 0.5} {
		accepted(t, what, p.verifier(), p.token(map[string]any{"nbf": begin}))
	}
	for what, begin := range map[string]any{"negative": -1, "huge": 1e300, "true": true, "a list": []int{0}} {
		refused(t, what, p.verifier(), p.token(map[string]any{"nbf": begin}))
	}
}

// Keys whose signatures take minutes to verify are left out.
func TestKeysBeyondMeasureAreLeftOut(t *testing.T) {
	p := newProvider(t)
	huge := &rsa.PublicKey{N: new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 1<<17), big.NewInt(1)), E: 65537}
	p.set(func() {
		p.keys = append(p.keys, jose.JSONWebKey{Key: huge, KeyID: "huge", Algorithm: "RS256", Use: "sig"})
	})
	p.publish("one", jose.RS256, rsaKey())
	keys, err := p.verifier().issuer.keys(t.Context())
	if err != nil || len(keys) != 1 || keys[0].KeyID != "one" {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}

// slow is an issuer that answers when the test says.
type slow struct {
	answers chan error
	asked   int
	panics  bool
}

func (s *slow) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	s.asked++
	if s.panics {
		panic("no such thing")
	}
	select {
	case err := <-s.answers:
		return []jose.JSONWebKey{{Key: rsaKey().Public(), KeyID: "one"}}, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A key that is known serves on while its issuer drips or is away; only the first of all
// requests waits for it.
func TestASlowIssuerHoldsUpNoKnownKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := &slow{answers: make(chan error, 1)}
		keys := &keySet{fetch: issuer.fetch, now: time.Now}
		find := func(what, id string, most time.Duration) error {
			t.Helper()
			start := time.Now()
			found, err := keys.find(t.Context(), id, jose.RS256)
			if took := time.Since(start); took > most || err == nil && id == "one" && len(found) != 1 {
				t.Errorf("%s: %d keys, %v after %s", what, len(found), err, took)
			}
			return err
		}
		issuer.answers <- nil
		_ = find("fresh", "one", 0)
		time.Sleep(keysFresh)
		if err := find("the first after ten minutes", "one", fetchTime); err != nil {
			t.Error(err)
		}
		for range 10 {
			time.Sleep(fetchPause)
			if err := find("while the issuer drips", "one", 0); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(keysUsable)
		if err := find("after a day", "one", fetchTime); err == nil {
			t.Error("a key was good for longer than a day")
		}
		synctest.Wait()
		time.Sleep(fetchPause)
		issuer.answers <- nil
		if err := find("the issuer is back", "one", 0); err != nil {
			t.Error(err)
		}
	})
}

// Whoever causes the fetch may leave; the others depend on it.
func TestAFetchIsNobodysOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := &slow{answers: make(chan error)}
		keys := &keySet{fetch: issuer.fetch, now: time.Now}
		first, leave := context.WithCancel(t.Context())
		left, stayed := make(chan error, 1), make(chan error, 1)
		go func() { _, err := keys.find(first, "one", jose.RS256); left <- err }()
		synctest.Wait()
		go func() { _, err := keys.find(t.Context(), "one", jose.RS256); stayed <- err }()
		synctest.Wait()
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("who left got %v", err)
		}
		issuer.answers <- nil
		if err := <-stayed; err != nil || issuer.asked != 1 {
			t.Errorf("who stayed got %v after %d fetches", err, issuer.asked)
		}
	})
}

// Neither a clock that was put back nor a panic over a document keeps later fetches away.
func TestFetchesGoOnAfterOddThings(t *testing.T) {
	issuer, now := &slow{answers: make(chan error, 1), panics: true}, time.Unix(1700000000, 0)
	keys := &keySet{fetch: issuer.fetch, now: func() time.Time { return now }}
	if _, err := keys.find(t.Context(), "one", jose.RS256); err == nil || !strings.Contains(err.Error(), "panic") {
		t.Errorf("got %v", err)
	}
	issuer.panics = false
	now = now.Add(-48 * time.Hour)
	issuer.answers <- nil
	if found, err := keys.find(t.Context(), "one", jose.RS256); err != nil || len(found) != 1 {
		t.Errorf("%d keys, %v", len(found), err)
	}
	now = now.Add(-48 * time.Hour)
	issuer.answers <- nil
	if found, err := keys.find(t.Context(), "other", jose.RS256); err != nil || len(found) != 0 || issuer.asked != 3 {
		t.Errorf("%d keys, %v after %d fetches", len(found), err, issuer.asked)
	}
}
