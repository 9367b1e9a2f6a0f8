package pullsecret

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
)

// refuse answers requests of one kind with an error until it returns nil.
func (f *fixture) refuse(verb, resource, subresource string, answer func() error) {
	f.client.PrependReactor(verb, resource, func(action clienttesting.Action) (bool, runtime.Object, error) {
		if action.GetSubresource() != subresource {
			return false, nil, nil
		}
		err := answer()
		return err != nil, nil, err
	})
}

// A failed token request leaves nothing that refers to an empty Secret, and the next sync goes on with it.
func TestAStormOfErrorsLeavesNoReferenceAndNoSecondSecret(t *testing.T) {
	f := newFixture(t, account("mine"))
	storm := true
	f.refuse("create", "serviceaccounts", "token", func() error {
		if storm {
			return apierrors.NewInternalError(errors.New("etcd is gone"))
		}
		return nil
	})
	for range 5 {
		f.refresh(t)
		if _, err := f.Sync(t.Context(), appKey); err == nil {
			t.Fatal("no error")
		}
		if references(f.account(t), "app-registry-pull") {
			t.Fatal("the ServiceAccount refers to a Secret without a token")
		}
	}
	storm = false
	expectVerbs(t, f.sync(t), "create serviceaccounts/token", "patch secrets", "patch serviceaccounts")
}

// Behaviour 67.
func TestATerminatingNamespaceEndsTheWork(t *testing.T) {
	f := newFixture(t, account())
	f.refuse("create", "secrets", "", func() error {
		err := apierrors.NewForbidden(corev1.Resource("secrets"), "x", errors.New("being terminated"))
		err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
		return err
	})
	f.refresh(t)
	f.queue.Add(appKey)
	f.loop.ProcessOne(t.Context())
	if f.queue.NumRequeues(appKey) != 0 || len(f.memory.failing) != 0 {
		t.Error("tried again, or counted as a failure")
	}
}

// Admission may put back what the controller removes, without an event. The Secret must stay until then.
func TestAReferenceThatAdmissionKeepsIsNotForgotten(t *testing.T) {
	f := newFixture(t, account("first"))
	f.sync(t)
	f.config = configWith(imageregistryv1.Managed, imageregistryv1.Removed)
	keep := true
	f.client.PrependReactor("patch", "serviceaccounts", func(clienttesting.Action) (bool, runtime.Object, error) {
		return keep, account("first", "app-registry-pull"), nil
	})
	f.refresh(t)
	if _, err := f.Sync(t.Context(), appKey); err == nil || f.secret(t) == nil {
		t.Fatalf("error %v, Secret %v: the Secret goes while it is referred to", err, f.secret(t))
	}
	keep = false
	expectVerbs(t, f.sync(t), "patch serviceaccounts", "delete secrets")
}

// Behaviour 73. A policy of somebody may quote the object that it refuses.
func TestErrorsRepeatNoToken(t *testing.T) {
	const token = "aGVhZGVy.cGF5bG9hZA.c2lnbmF0dXJl"
	data, err := credential("app", token, []string{"h"})
	if err != nil {
		t.Fatal(err)
	}
	auth, encoded := base64.StdEncoding.EncodeToString([]byte("app:"+token)), base64.StdEncoding.EncodeToString(data)
	for _, quoted := range []string{
		token, auth, token[10:30], encoded, encoded[20:60], base64.StdEncoding.EncodeToString([]byte(token)), `{"auths":{"h":{"auth":"` + auth + `"}}}`,
	} {
		denied := apierrors.NewForbidden(corev1.Resource("secrets"), "x", errors.New("denied: "+quoted))
		got := withhold(fmt.Errorf("write: %w", denied), data, token)
		if strings.Contains(got.Error(), quoted) || !apierrors.IsForbidden(got) {
			t.Errorf("%s", got)
		}
		if got := withhold(errors.New(quoted), data, token); strings.Contains(got.Error(), quoted) {
			t.Errorf("%s", got)
		}
	}
	plain := apierrors.NewConflict(corev1.Resource("secrets"), "x", errors.New("changed"))
	if got := withhold(plain, data, token); got != error(plain) {
		t.Errorf("an error without a token was changed: %v", got)
	}
}

// With the admission policy the reference comes before the token; such an account is still new.
func TestAReferenceWithoutATokenIsUrgent(t *testing.T) {
	f := newFixture(t, account("app-registry-pull"))
	f.refresh(t)
	if !f.urgent(appKey) {
		t.Error("no Secret: not urgent")
	}
	f.sync(t)
	f.refresh(t)
	if f.urgent(appKey) {
		t.Error("a good credential is urgent")
	}
}

func TestMetricsOfPullSecrets(t *testing.T) {
	f := newFixture(t, account())
	registry := prometheus.NewRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	f.Metrics = metrics
	f.memory.arrived(appKey, f.clock.Now())
	f.clock.Step(1500 * time.Millisecond)
	f.sync(t)
	f.refresh(t)
	if got := testutil.ToFloat64(metrics.refreshes.WithLabelValues("success", "new")); got != 1 {
		t.Errorf("%v refreshes, want 1", got)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if h := family.GetMetric()[0].GetHistogram(); h != nil && (h.GetSampleCount() != 1 || h.GetSampleSum() < 1.5) {
			t.Errorf("%d injections in %v seconds", h.GetSampleCount(), h.GetSampleSum())
		}
	}
	states := func() (valid, failed, pending, ignored int) {
		s, err := f.Summary()
		if err != nil {
			t.Fatal(err)
		}
		return s.Ready, s.Failing, s.Desired - s.Ready - s.Failing, s.Ignored
	}
	if v, failed, p, i := states(); v != 1 || failed+p+i != 0 {
		t.Errorf("valid %d, failed %d, pending %d, ignored %d", v, failed, p, i)
	}
	f.memory.result(appKey, f.clock.Now(), errors.New("x"))
	if v, failed, _, _ := states(); v != 1 || failed != 0 {
		t.Error("a failure counts although the token is still good")
	}
	f.clock.Step(25 * time.Hour)
	if v, failed, _, _ := states(); v != 0 || failed != 1 {
		t.Errorf("valid %d, failed %d after the token ran out", v, failed)
	}
	if s, _ := f.Summary(); !s.Degraded || !strings.Contains(s.Message, "team/app") {
		t.Errorf("summary %+v", s)
	}
}

// Behaviour 73.
func TestTheCacheDropsWhatItDoesNotNeed(t *testing.T) {
	secret := newSecret(accountFrom(account()))
	secret.Data["extra"] = []byte("a-secret")
	secret.StringData = map[string]string{"extra": "a-secret"}
	secret.Annotations["kubectl.kubernetes.io/last-applied-configuration"] = "a-secret"
	secret.Labels["other"] = "a-secret"
	kept, err := keepSecret(secret)
	if text := fmt.Sprintf("%+v", kept); err != nil || strings.Contains(text, "a-secret") || strings.Contains(text, emptyCredential) ||
		strings.Contains(text, sha256Hex([]byte(emptyCredential))) {
		t.Errorf("kept: %s, error %v", text, err)
	}
}

// The events of a watch can be anything: an informer hands over tombstones, and tombstones of anything.
func FuzzInformerInput(f *testing.F) {
	f.Add("team", "app", "v1", "ServiceAccount", "2030-01-02T03:04:05Z", []byte(`{"auths":{}}`), 0)
	f.Add("", "", "", "", "", []byte(nil), 3)
	f.Add(strings.Repeat("n", 300), strings.Repeat("a", 300), "v1", "ServiceAccount", "x", []byte{0xff}, 7)
	f.Fuzz(func(t *testing.T, namespace, name, version, kind, note string, data []byte, shape int) {
		fixture := newFixture(t, account())
		fixture.refresh(t)
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: map[string]string{
				accountAnnotation: name, expiresAnnotation: note, refreshAnnotation: note, dataHashAnnotation: note, keyIDAnnotation: note,
			}, OwnerReferences: []metav1.OwnerReference{{APIVersion: version, Kind: kind, Name: name}}},
			Data: map[string][]byte{corev1.DockerConfigJsonKey: data, note: data},
		}
		owner := account(name, name)
		owner.Namespace, owner.Name, owner.Annotations = namespace, name, map[string]string{InjectAnnotation: note}
		objects := []any{secret, owner, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, &corev1.Pod{}, nil, name,
			(*corev1.Secret)(nil), cache.DeletedFinalStateUnknown{Key: namespace + "/" + name}}
		object := objects[((shape%len(objects))+len(objects))%len(objects)]
		for _, transform := range []cache.TransformFunc{keepSecret, keepAccount} {
			kept, err := transform(object)
			if err != nil {
				t.Fatal(err)
			}
			switch kept.(type) {
			case *Secret, *Account:
				objects = append(objects, kept)
			}
		}
		object = objects[((shape%len(objects))+len(objects))%len(objects)]
		for _, handle := range []func(any){fixture.enqueueAccount, fixture.enqueueSecret, fixture.enqueueNamespace, fixture.enqueueAll, fixture.arrived} {
			if object == any((*corev1.Secret)(nil)) {
				continue
			}
			handle(object)
			handle(cache.DeletedFinalStateUnknown{Key: name, Obj: object})
		}
		for _, mode := range []Mode{Full, RefreshOnly, Remove, Off} {
			Decide(Input{Mode: mode, Now: start, Account: accountFrom(owner), Secret: seen(secret), Orphans: []*Secret{secretFrom(secret)}, Keys: map[string]bool{note: true}})
		}
		if long := SecretName(name); len(name) <= maxNameLength && len(long) > maxNameLength {
			t.Errorf("a name of %d characters", len(long))
		}
	})
}

// Behaviour 60. Names at the limit work like others.
func TestTheLongestNameGetsACredential(t *testing.T) {
	long := account()
	long.Name = strings.Repeat("a", 253)
	f := newFixture(t, long)
	f.refresh(t)
	key := appKey
	key.Name = long.Name
	if _, err := f.Sync(context.Background(), key); err != nil {
		t.Fatal(err)
	}
	live, err := f.client.CoreV1().ServiceAccounts("team").Get(t.Context(), long.Name, metav1.GetOptions{})
	if err != nil || len(live.ImagePullSecrets) != 1 || len(live.ImagePullSecrets[0].Name) != 253 {
		t.Errorf("references %v, error %v", live.ImagePullSecrets, err)
	}
	if f.tokens != 1 {
		t.Errorf("%d tokens", f.tokens)
	}
}

// Behaviour 70. At rest there is nothing in memory about a ServiceAccount but its two objects, and no index of what is
// found by name.
func TestNothingIsKeptOfAServiceAccountAtRest(t *testing.T) {
	f := newFixture(t, account())
	f.sync(t)
	f.clock.Step(time.Hour)
	f.sync(t)
	if n := len(f.memory.injections) + len(f.memory.mended) + len(f.memory.arrivals) + len(f.memory.failing); n > 0 {
		t.Errorf("%d entries: %+v", n, f.memory)
	}
	f.refresh(t)
	if values := f.secrets.ListIndexFuncValues(accountIndex); len(values) > 0 || len(f.secrets.List()) != 1 {
		t.Errorf("index of %q", values)
	}
}

// A cache that has not seen the new token yet is no reason for another one.
func TestACacheThatIsBehindCostsNoToken(t *testing.T) {
	f := newFixture(t, account())
	f.sync(t)
	f.refresh(t)
	stale := secretFrom(newSecret(accountFrom(account())))
	stale.UID, stale.Version = f.secret(t).UID, "6"
	if err := f.secrets.Replace([]any{stale}, ""); err != nil {
		t.Fatal(err)
	}
	f.memory.wroteVersion(appKey, "7")
	if again, err := f.Sync(t.Context(), appKey); err != nil || again != time.Second || f.tokens != 1 {
		t.Errorf("looks again after %s, error %v, %d tokens", again, err, f.tokens)
	}
	f.clock.Step(3 * time.Minute) // an API server that was restored counts from an earlier number
	if _, err := f.Sync(t.Context(), appKey); err != nil || f.tokens != 2 {
		t.Errorf("error %v, %d tokens", err, f.tokens)
	}
}
