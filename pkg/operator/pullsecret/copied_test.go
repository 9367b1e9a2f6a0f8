package pullsecret

import (
	"errors"
	"slices"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	clienttesting "k8s.io/client-go/testing"
)

// copied makes a Secret look as if somebody had applied the YAML of another one.
func copied(secret *corev1.Secret, name string) *corev1.Secret {
	out := secret.DeepCopy()
	out.Name, out.UID, out.ResourceVersion = name, "uid-of-a-copy", ""
	out.ManagedFields = []metav1.ManagedFieldsEntry{{
		Manager: "kubectl-client-side-apply", Operation: metav1.ManagedFieldsOperationUpdate, FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:labels":{"f:` + ManagedLabel + `":{}},"f:annotations":{"f:` + dataHashAnnotation + `":{}}}}`),
	}}
	return out
}

// Behaviour 64. Labels and annotations prove nothing: who copies the YAML of a Secret copies them.
func TestASecretWithACopiedLabelIsNotDeleted(t *testing.T) {
	own := newSecret(accountFrom(account()))
	theirs := copied(own, "my-copy")
	f := newFixture(t, account("my-copy"), theirs)
	f.sync(t)
	if _, err := f.client.CoreV1().Secrets("team").Get(t.Context(), "my-copy", metav1.GetOptions{}); err != nil || !references(f.account(t), "my-copy") {
		t.Errorf("the copy: %v, references %v", err, f.account(t).ImagePullSecrets)
	}
	for _, mode := range []Mode{Full, Remove, RefreshOnly} {
		stranger := copied(own, SecretName("app"))
		stranger.OwnerReferences = nil
		in := Input{Mode: mode, Now: start, Account: accountFrom(account(SecretName("app"))), Secret: secretFrom(stranger)}
		if plan := Decide(in); plan.Delete || len(plan.Discard)+len(plan.Ejected) > 0 {
			t.Errorf("%s: %+v", mode, plan)
		}
	}
	stranger := copied(own, SecretName("app"))
	stranger.OwnerReferences = nil
	f = newFixture(t, account(), stranger)
	f.sync(t)
	if f.secret(t).UID != stranger.UID || !slices.Equal(f.events, []string{"PullSecretNameConflict"}) {
		t.Errorf("the Secret was replaced, or nobody was told: events %q", f.events)
	}
}

// Behaviour 63. A Secret from a backup looks as good as new, but its token died with the Secret it was bound to.
func TestTheTokenOfACopyIsReplaced(t *testing.T) {
	f := newFixture(t, account())
	f.sync(t)
	restored := copied(f.secret(t), SecretName("app"))
	secrets := f.client.CoreV1().Secrets("team")
	if err := secrets.Delete(t.Context(), restored.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := f.client.Tracker().Add(restored); err != nil {
		t.Fatal(err)
	}
	f.refresh(t)
	if summary, err := f.Summary(); err != nil || summary.Ready != 0 {
		t.Errorf("summary %+v, error %v", summary, err)
	}
	expectVerbs(t, f.sync(t), "create serviceaccounts/token", "patch secrets")
}

// Behaviour 62. Times that a clock noted which was wrong, in both directions, keep no token longer than it lives.
func TestAClockThatWasSetKeepsNoDeadToken(t *testing.T) {
	for _, wrong := range []time.Duration{-1000 * time.Hour, -30 * time.Hour, -10 * time.Hour, 10 * time.Hour, 30 * time.Hour, 1000 * time.Hour} {
		f := newFixture(t, account())
		right := f.clock.Now()
		var expires time.Time
		f.client.PrependReactor("create", "serviceaccounts", func(action clienttesting.Action) (bool, runtime.Object, error) {
			request := action.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenRequest).DeepCopy()
			expires = right.Add(24 * time.Hour)
			request.Status.Token, request.Status.ExpirationTimestamp = "token", metav1.NewTime(expires)
			return true, request, nil
		})
		f.clock.SetTime(right.Add(wrong))
		f.sync(t)
		at, err := time.Parse(time.RFC3339, f.secret(t).Annotations[refreshAnnotation])
		if err != nil {
			t.Fatal(err)
		}
		if wait := at.Sub(f.clock.Now()); wait < minRefresh-time.Second || wait > 15*time.Hour {
			t.Errorf("clock wrong by %s: the next token after %s", wrong, wait)
		}
		expectVerbs(t, f.sync(t)) // no flood while it is wrong
		f.clock.SetTime(right.Add(15 * time.Hour))
		f.refresh(t)
		if _, err := f.Sync(t.Context(), appKey); err != nil {
			t.Fatal(err)
		}
		if wrong > 24*time.Hour && len(f.client.Actions()) == 0 {
			t.Errorf("clock was wrong by %s: a token that ends in nine hours is kept until %s", wrong, at)
		}
	}
}

// A Secret that others filled up takes no token any more; it is made anew, and does not run out.
func TestASecretWithoutRoomIsMadeAnew(t *testing.T) {
	f := newFixture(t, account())
	f.sync(t)
	first := f.tokens
	full := true
	f.refuse("patch", "secrets", "", func() error {
		if full {
			return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Secret").GroupKind(), "x", field.ErrorList{field.TooLong(field.NewPath("data"), "", 1<<20)})
		}
		return nil
	})
	f.clock.Step(15 * time.Hour)
	f.refresh(t)
	if _, err := f.Sync(t.Context(), appKey); err == nil || f.secret(t) != nil {
		t.Fatalf("error %v, Secret %v", err, f.secret(t))
	}
	full = false
	expectVerbs(t, f.sync(t), "create secrets", "create serviceaccounts/token", "patch secrets")
	if f.tokens != first+2 {
		t.Errorf("%d tokens", f.tokens)
	}
	for _, policy := range []error{
		apierrors.NewForbidden(corev1.Resource("secrets"), "x", errors.New("no")),
		apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Secret").GroupKind(), "x", field.ErrorList{field.Forbidden(nil, "by policy")}),
	} {
		if noRoom(policy) {
			t.Errorf("%v is taken for a lack of room", policy)
		}
	}
}

// Behaviour 66. Who changes or deletes the Secret on and on costs a few tokens, and then one a minute.
func TestAWriterOfTheSecretCostsFewTokens(t *testing.T) {
	f := newFixture(t, account())
	secrets := f.client.CoreV1().Secrets("team")
	for i := range 300 {
		f.sync(t)
		if secret := f.secret(t); secret != nil && i%2 == 0 {
			secret.Data[corev1.DockerConfigJsonKey] = []byte(`{"auths":{}}`)
			if _, err := secrets.Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
		} else if secret != nil {
			if err := secrets.Delete(t.Context(), secret.Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		f.clock.Step(time.Second)
	}
	if f.tokens > 11 || f.tokens < 8 {
		t.Errorf("%d tokens in five minutes", f.tokens)
	}
	if !slices.Equal(f.events, []string{"DriftConflict"}) {
		t.Errorf("events %q", f.events)
	}
}

// A writer of one namespace who notes an end in the past on its Secret, as often as it is mended, does not make the
// whole registry degraded.
func TestForgedEndsAreNotTheOperatorsFault(t *testing.T) {
	f := newFixture(t, account())
	for range 20 {
		f.sync(t)
		secret := f.secret(t)
		past := start.Add(-time.Hour).Format(time.RFC3339)
		secret.Annotations[expiresAnnotation], secret.Annotations[refreshAnnotation] = past, past
		if _, err := f.client.CoreV1().Secrets("team").Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		f.clock.Step(time.Second)
	}
	f.sync(t)
	f.refresh(t)
	if f.tokens != injectionsPerMinute {
		t.Fatalf("%d tokens: the Secret is not left for a while", f.tokens)
	}
	if summary, err := f.Summary(); err != nil || summary.Degraded || summary.Expired > 0 {
		t.Errorf("summary %+v, error %v", summary, err)
	}
}
