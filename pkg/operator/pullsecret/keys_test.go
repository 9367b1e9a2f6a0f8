package pullsecret

import (
	"context"
	"encoding/base64"
	"errors"
	goruntime "runtime"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// signedWith makes the tokens of the fixture name a key.
func (f *fixture) signedWith(id string) {
	f.prefix = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"`+id+`"}`)) + ".x."
}

// Behaviour 69.
func TestObservationsOfKeys(t *testing.T) {
	var keys keySet
	if keyGone(keys.snapshot(), "old") {
		t.Error("a key is gone before any was seen")
	}
	steps := []struct {
		name    string
		ids     []string
		changed bool
		gone    bool
	}{
		{"first", []string{"old"}, true, false},
		{"same", []string{"old"}, false, false},
		{"empty changes nothing", nil, false, false},
		{"without ids changes nothing", []string{""}, false, false},
		{"added", []string{"old", "new"}, true, false},
		{"order does not count", []string{"new", "old"}, false, false},
		{"dropped", []string{"new"}, true, true},
		{"empty changes nothing again", []string{}, false, true},
	}
	for _, step := range steps {
		if changed := keys.observe(step.ids, start, 2*keysInterval); changed != step.changed {
			t.Errorf("%s: changed %t, want %t", step.name, changed, step.changed)
		}
		if gone := keyGone(keys.snapshot(), "old"); gone != step.gone {
			t.Errorf("%s: gone %t, want %t", step.name, gone, step.gone)
		}
	}
}

// One API server of several may sign with a key that the others do not publish yet.
func TestAKeyThatJustSignedIsNotGone(t *testing.T) {
	var keys keySet
	keys.observe([]string{"old"}, start, 2*keysInterval)
	keys.signedBy("new", start)
	if keyGone(keys.snapshot(), "new") {
		t.Fatal("the token would be replaced at once, on and on")
	}
	keys.observe([]string{"old"}, start.Add(keysInterval), 2*keysInterval)
	if keyGone(keys.snapshot(), "new") {
		t.Error("gone after one look")
	}
	keys.observe([]string{"old"}, start.Add(2*keysInterval), 2*keysInterval)
	if !keyGone(keys.snapshot(), "new") {
		t.Error("never gone, although no API server knows it any more")
	}
}

// Behaviour 69.
func TestOnlyTokensOfGoneKeysAreReplaced(t *testing.T) {
	f := newFixture(t, account())
	f.signedWith("old")
	f.sync(t)
	f.SigningKeys = func(context.Context) ([]string, error) { return []string{"old", "new"}, nil }
	f.lookAtKeys(t.Context())
	expectVerbs(t, f.sync(t))
	f.SigningKeys = func(context.Context) ([]string, error) { return nil, nil }
	f.lookAtKeys(t.Context())
	expectVerbs(t, f.sync(t))
	f.SigningKeys = func(context.Context) ([]string, error) { return nil, errors.New("no answer") }
	f.lookAtKeys(t.Context())
	expectVerbs(t, f.sync(t))

	f.clock.Step(2 * keysInterval) // the old key signed a moment ago
	f.signedWith("new")
	f.SigningKeys = func(context.Context) ([]string, error) { return []string{"new"}, nil }
	f.refresh(t)
	f.lookAtKeys(t.Context())
	expectVerbs(t, f.sync(t), "create serviceaccounts/token", "patch secrets")
	expectVerbs(t, f.sync(t))
}

// Behaviour 69. What follows a change of keys is spread.
func TestReplacedTokensAreSpread(t *testing.T) {
	f := newFixture(t, account())
	f.signedWith("old")
	f.sync(t)
	f.refresh(t)
	f.clock.Step(2 * keysInterval)
	f.SigningKeys = func(context.Context) ([]string, error) { return []string{"new"}, nil }
	f.lookAtKeys(t.Context())
	if f.queue.Len() != 0 && delayWithin(keysSpread, appKey) > 0 {
		t.Error("the token is replaced at once")
	}
	f.clock.Step(keysSpread)
	deadline := time.Now().Add(10 * time.Second)
	for f.queue.Len() == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the token is never replaced")
		}
		goruntime.Gosched()
	}
}

func TestKeysAreNotAskedForWhileNothingIsKeptValid(t *testing.T) {
	f := newFixture(t, account())
	f.config = configWith("Removed", "Managed")
	f.refresh(t)
	f.SigningKeys = func(context.Context) ([]string, error) { t.Error("asked"); return nil, nil }
	f.lookAtKeys(t.Context())
}

func TestParseKeyIDs(t *testing.T) {
	for text, want := range map[string][]string{
		`{"keys":[{"kid":"a","kty":"RSA"},{"kty":"RSA"},{"kid":"b"}]}`: {"a", "b"},
		`{"keys":[]}`: nil,
		`{}`:          nil,
		`null`:        nil,
	} {
		if got, err := parseKeyIDs([]byte(text)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, error %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", "<html>", `{"keys":7}`, `{"keys":[{"kid":7}]}`} {
		if got, err := parseKeyIDs([]byte(text)); err == nil {
			t.Errorf("%q: %q and no error", text, got)
		}
	}
}

func FuzzParseKeyIDs(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kid":"a"}]}`))
	f.Add([]byte(`{"keys":[null,{"kid":""}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		ids, _ := parseKeyIDs(data)
		if slices.Contains(ids, "") {
			t.Error("an empty id")
		}
	})
}

// Behaviour 63. What a tenant can do to his own Secret heals, and never troubles others.
func TestHostileChangesOfASecret(t *testing.T) {
	tests := []struct {
		name   string
		change func(*corev1.Secret)
		want   Plan
	}{
		{"immutable", func(s *corev1.Secret) { yes := true; s.Immutable = &yes }, Plan{Delete: true}},
		{"no owner", func(s *corev1.Secret) { s.OwnerReferences = nil }, Plan{Delete: true}},
		{"another owner before ours", func(s *corev1.Secret) {
			s.OwnerReferences = append([]metav1.OwnerReference{{APIVersion: "v1", Kind: "ServiceAccount", Name: "other", UID: "x"}}, s.OwnerReferences...)
		}, Plan{Delete: true}},
		{"held by a finalizer", func(s *corev1.Secret) { s.DeletionTimestamp = &metav1.Time{Time: start} }, Plan{}},
		{"key id removed", func(s *corev1.Secret) { delete(s.Annotations, keyIDAnnotation) }, Plan{Refresh: reasonTampered}},
		{"times that are none", func(s *corev1.Secret) { s.Annotations[expiresAnnotation] = "soon" }, Plan{Refresh: reasonTampered}},
		{"refresh after the end", func(s *corev1.Secret) {
			s.Annotations[expiresAnnotation] = start.Add(-time.Hour).Format(time.RFC3339)
			s.Annotations[refreshAnnotation] = start.Add(1000 * time.Hour).Format(time.RFC3339)
		}, Plan{Refresh: reasonTampered}},
		{"all annotations removed", func(s *corev1.Secret) { s.Annotations = nil }, Plan{Refresh: reasonNew}},
		{"a hash under another name in place of the data", func(s *corev1.Secret) {
			s.Data = map[string][]byte{dataHashAnnotation: []byte(s.Annotations[dataHashAnnotation])}
		}, Plan{Refresh: reasonTampered}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			secret := goodSecret(t)
			test.change(secret)
			in := Input{Mode: Full, Now: start, Account: accountFrom(account("app-registry-pull")), Secret: seen(secret), HostsHash: "hash"}
			if got := Decide(in); !samePlan(got, test.want) {
				t.Errorf("plan %+v, want %+v", got, test.want)
			}
			if expired(in, start.Add(1000*time.Hour)) && secret.DeletionTimestamp != nil {
				t.Error("a Secret that somebody holds counts as expired")
			}
		})
	}
}
