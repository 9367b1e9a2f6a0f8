package pullsecret

import (
	"context"
	"fmt"
	goruntime "runtime"
	"slices"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	clocktesting "k8s.io/utils/clock/testing"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/keyed"
)

// fixture runs the controller on a fake cluster whose caches are filled by hand, so that every read of a
// cache is as fresh as the test wants.
type fixture struct {
	*Controller
	client     *fake.Clientset
	clock      *clocktesting.FakeClock
	namespaced informers.SharedInformerFactory
	shared     informers.SharedInformerFactory
	config     *imageregistryv1.Config
	events     []string
	tokens     int
	// prefix begins every token.
	prefix string
}

func newFixture(t *testing.T, objects ...runtime.Object) *fixture {
	t.Helper()
	objects = append(objects,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team"}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: registryService}, Spec: corev1.ServiceSpec{ClusterIPs: []string{"198.18.0.1"}}},
	)
	f := &fixture{client: fake.NewClientset(objects...), clock: clocktesting.NewFakeClock(start)}
	f.config = configWith(imageregistryv1.Managed, imageregistryv1.Managed)
	f.client.PrependReactor("create", "secrets", func(action clienttesting.Action) (bool, runtime.Object, error) {
		secret := action.(clienttesting.CreateAction).GetObject().(*corev1.Secret)
		secret.UID = types.UID("uid-" + secret.Name)
		return false, nil, nil
	})
	f.client.PrependReactor("create", "serviceaccounts", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if action.GetSubresource() != "token" {
			return false, nil, nil
		}
		f.tokens++
		request := action.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenRequest).DeepCopy()
		request.Status.Token = fmt.Sprintf("%stoken-%d", f.prefix, f.tokens)
		life := time.Duration(*request.Spec.ExpirationSeconds) * time.Second
		request.Status.ExpirationTimestamp = metav1.NewTime(f.clock.Now().Add(life))
		return true, request, nil
	})
	f.namespaced = informers.NewSharedInformerFactoryWithOptions(f.client, 0, informers.WithNamespace("ns"))
	f.shared = informers.NewSharedInformerFactory(f.client, 0)
	c, err := New(Options{
		Client: f.client, Namespaced: f.namespaced, Namespaces: f.shared.Core().V1().Namespaces(),
		Configs:   cache.NewSharedIndexInformer(&cache.ListWatch{}, &imageregistryv1.Config{}, 0, cache.Indexers{}),
		Namespace: "ns", ClusterDomain: "example.test", Clock: f.clock,
		Events: func(_, reason, _ string) { f.events = append(f.events, reason) },
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Controller = c
	return f
}

// refresh fills the caches from the fake cluster, through the same transforms.
func (f *fixture) refresh(t *testing.T) {
	t.Helper()
	ctx, all := context.Background(), metav1.ListOptions{}
	accounts, err1 := f.client.CoreV1().ServiceAccounts("").List(ctx, all)
	secrets, err2 := f.client.CoreV1().Secrets("").List(ctx, metav1.ListOptions{LabelSelector: ManagedLabel + "=true"})
	namespaces, err3 := f.client.CoreV1().Namespaces().List(ctx, all)
	services, err4 := f.client.CoreV1().Services("ns").List(ctx, all)
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			t.Fatal(err)
		}
	}
	replace(t, f.cluster.Core().V1().ServiceAccounts().Informer().GetIndexer(), accounts.Items, keepAccount)
	replace(t, f.secrets, secrets.Items, keepSecret)
	replace(t, f.shared.Core().V1().Namespaces().Informer().GetIndexer(), namespaces.Items, nil)
	replace(t, f.namespaced.Core().V1().Services().Informer().GetIndexer(), services.Items, nil)
	if err := f.Configs.GetIndexer().Replace([]any{f.config}, ""); err != nil {
		t.Fatal(err)
	}
	f.client.ClearActions()
}

func replace[T any](t *testing.T, indexer cache.Indexer, items []T, transform cache.TransformFunc) {
	t.Helper()
	objects := make([]any, 0, len(items))
	for i := range items {
		var object any = &items[i]
		if transform != nil {
			object, _ = transform(object)
		}
		objects = append(objects, object)
	}
	if err := indexer.Replace(objects, ""); err != nil {
		t.Fatal(err)
	}
}

var appKey = types.NamespacedName{Namespace: "team", Name: "app"}

// sync refreshes the caches, syncs the one account and returns the verbs of the requests.
func (f *fixture) sync(t *testing.T) []string {
	t.Helper()
	f.refresh(t)
	if _, err := f.Sync(context.Background(), appKey); err != nil {
		t.Fatalf("sync: %v", err)
	}
	var verbs []string
	for _, action := range f.client.Actions() {
		verb := action.GetVerb() + " " + action.GetResource().Resource
		if action.GetSubresource() != "" {
			verb += "/" + action.GetSubresource()
		}
		verbs = append(verbs, verb)
	}
	return verbs
}

func (f *fixture) account(t *testing.T) *corev1.ServiceAccount {
	t.Helper()
	live, err := f.client.CoreV1().ServiceAccounts("team").Get(context.Background(), "app", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return live
}

func (f *fixture) secret(t *testing.T) *corev1.Secret {
	t.Helper()
	live, err := f.client.CoreV1().Secrets("team").Get(context.Background(), "app-registry-pull", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return live
}

func expectVerbs(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("requests %q, want %q", got, want)
	}
}

// Behaviour 60.
func TestNewAccountGetsSecretThenReference(t *testing.T) {
	f := newFixture(t, account("mine"))
	expectVerbs(t, f.sync(t), "create secrets", "create serviceaccounts/token", "patch secrets", "patch serviceaccounts")
	want := []corev1.LocalObjectReference{{Name: "mine"}, {Name: "app-registry-pull"}}
	if got := f.account(t).ImagePullSecrets; !slices.Equal(got, want) {
		t.Errorf("references %v, want %v", got, want)
	}
	expectVerbs(t, f.sync(t))
	summary, err := f.Summary()
	if err != nil || summary.Desired != 1 || summary.Ready != 1 || summary.Degraded {
		t.Errorf("summary %+v, error %v", summary, err)
	}
}

// Behaviour 61.
func TestTokenIsBoundToTheSecretAndHasItsOwnAudience(t *testing.T) {
	f := newFixture(t, account())
	f.sync(t)
	for _, action := range f.client.Actions() {
		create, ok := action.(clienttesting.CreateAction)
		if !ok || action.GetSubresource() != "token" {
			continue
		}
		spec := create.GetObject().(*authenticationv1.TokenRequest).Spec
		if !slices.Equal(spec.Audiences, []string{"image-registry.alauda.io"}) || *spec.ExpirationSeconds != 86400 {
			t.Errorf("audiences %q, life %d", spec.Audiences, *spec.ExpirationSeconds)
		}
		if ref := spec.BoundObjectRef; ref == nil || ref.Kind != "Secret" || ref.UID != "uid-app-registry-pull" {
			t.Errorf("bound to %v", ref)
		}
	}
}

// Behaviour 62.
func TestTokenIsRefreshedInTime(t *testing.T) {
	f := newFixture(t, account())
	f.sync(t)
	f.clock.Step(12 * time.Hour)
	expectVerbs(t, f.sync(t))
	f.clock.Step(3 * time.Hour)
	expectVerbs(t, f.sync(t), "create serviceaccounts/token", "patch secrets")
	expectVerbs(t, f.sync(t))
}

// Behaviour 63.
func TestTamperedDataIsWrittenAnew(t *testing.T) {
	f := newFixture(t, account())
	f.sync(t)
	secret := f.secret(t)
	secret.Data[corev1.DockerConfigJsonKey] = []byte(`{"auths":{}}`)
	if _, err := f.client.CoreV1().Secrets("team").Update(context.Background(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	expectVerbs(t, f.sync(t), "create serviceaccounts/token", "patch secrets")
}

// Behaviour 64.
func TestForeignSecretIsUntouchedAndReportedOnce(t *testing.T) {
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app-registry-pull", UID: "x"}, Data: map[string][]byte{"a": []byte("b")}}
	f := newFixture(t, account(), foreign)
	for range 3 {
		f.sync(t)
	}
	if got := f.secret(t); string(got.Data["a"]) != "b" || len(got.Labels) != 0 {
		t.Errorf("foreign Secret changed: %v", got)
	}
	if !slices.Equal(f.events, []string{"PullSecretNameConflict"}) {
		t.Errorf("events %q", f.events)
	}
	if again, err := f.Sync(context.Background(), appKey); err != nil || again != foreignRecheck {
		t.Errorf("looks again after %s, error %v", again, err)
	}
	f.config = configWith(imageregistryv1.Removed, imageregistryv1.Managed)
	account := f.account(t)
	account.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "app-registry-pull"}}
	if _, err := f.client.CoreV1().ServiceAccounts("team").Update(context.Background(), account, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	expectVerbs(t, f.sync(t), "get secrets")
}

// A foreign Secret that goes between the refused creation and the look at it leaves no event: nobody would ask again.
func TestANameThatBecomesFreeMeanwhileIsTriedAgain(t *testing.T) {
	f := newFixture(t, account())
	taken := true
	f.client.PrependReactor("create", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		if !taken {
			return false, nil, nil
		}
		return true, nil, apierrors.NewAlreadyExists(corev1.Resource("secrets"), "app-registry-pull")
	})
	f.refresh(t)
	_, err := f.Sync(t.Context(), appKey)
	if verdict := keyed.Classify(err); verdict != keyed.Again {
		t.Fatalf("verdict %d about %v, want another attempt", verdict, err)
	}
	taken = false
	expectVerbs(t, f.sync(t), "create secrets", "create serviceaccounts/token", "patch secrets", "patch serviceaccounts")
}

// What was said of a name that was taken is over when the operator has it.
func TestAConflictOfNamesEnds(t *testing.T) {
	f := newFixture(t, account(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app-registry-pull", UID: "x"}})
	f.sync(t)
	if !f.memory.conflicting(appKey) {
		t.Fatal("no conflict")
	}
	if err := f.client.CoreV1().Secrets("team").Delete(t.Context(), "app-registry-pull", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	expectVerbs(t, f.sync(t), "create secrets", "create serviceaccounts/token", "patch secrets", "patch serviceaccounts")
	if f.memory.conflicting(appKey) {
		t.Error("the name still counts as taken: nobody would be told who keeps changing the Secret")
	}
}

// Behaviour 68.
func TestRemoveLeavesNothing(t *testing.T) {
	f := newFixture(t, account("first"))
	f.sync(t)
	f.config = configWith(imageregistryv1.Managed, imageregistryv1.Removed)
	expectVerbs(t, f.sync(t), "patch serviceaccounts", "delete secrets")
	if refs := f.account(t).ImagePullSecrets; f.secret(t) != nil || !slices.Equal(refs, []corev1.LocalObjectReference{{Name: "first"}}) {
		t.Errorf("left: Secret %v, references %v", f.secret(t), refs)
	}
	expectVerbs(t, f.sync(t))
}

// Behaviour 66.
func TestStrippingWriterCausesNoSecondSecret(t *testing.T) {
	f := newFixture(t, account())
	writes := 0
	for range 300 {
		writes += len(slices.DeleteFunc(f.sync(t), func(verb string) bool { return verb != "patch serviceaccounts" }))
		account := f.account(t)
		account.ImagePullSecrets = nil
		if _, err := f.client.CoreV1().ServiceAccounts("team").Update(context.Background(), account, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		f.clock.Step(time.Second)
	}
	if writes > 10 {
		t.Errorf("%d injections in five minutes", writes)
	}
	if secrets, _ := f.client.CoreV1().Secrets("team").List(context.Background(), metav1.ListOptions{}); len(secrets.Items) != 1 || f.tokens != 1 {
		t.Errorf("%d Secrets and %d tokens, want 1", len(secrets.Items), f.tokens)
	}
	if !slices.Equal(f.events, []string{"DriftConflict"}) {
		t.Errorf("events %q", f.events)
	}
}

func TestWithoutTheServiceNothingIsMade(t *testing.T) {
	f := newFixture(t, account())
	if err := f.client.CoreV1().Services("ns").Delete(context.Background(), registryService, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	expectVerbs(t, f.sync(t))
}

func TestAccountsWithoutCredentialGoFirst(t *testing.T) {
	queue := priorityQueue{urgent: func(key types.NamespacedName) bool { return key.Name == "new" }}
	for _, name := range []string{"old-1", "new", "old-2", "new"} {
		queue.Push(types.NamespacedName{Name: name})
	}
	var order []string
	for queue.Len() > 0 {
		order = append(order, queue.Pop().Name)
	}
	if !slices.Equal(order, []string{"new", "new", "old-1", "old-2"}) {
		t.Errorf("order %q", order)
	}
}

// A timer does not notice that the clock was set: the next look is never far away.
func TestTheNextLookIsNeverFarAway(t *testing.T) {
	f := newFixture(t, account())
	f.sync(t)
	f.refresh(t)
	f.queue.Add(appKey)
	if !f.loop.ProcessOne(context.Background()) {
		t.Fatal("the queue is closed")
	}
	if f.queue.Len() != 0 {
		t.Fatal("a good credential is looked at again at once")
	}
	f.clock.Step(longestWait)
	deadline := time.Now().Add(10 * time.Second)
	for f.queue.Len() == 0 {
		if time.Now().After(deadline) {
			t.Fatalf("not looked at again within %s", longestWait)
		}
		goruntime.Gosched()
	}
}

// With a clock ahead of the API server's a new token seems to have run out already.
func TestAClockAheadCausesNoFloodOfTokens(t *testing.T) {
	for _, ahead := range []time.Duration{0, 9 * time.Minute, time.Hour, 100 * time.Hour} {
		expires := start.Add(10*time.Minute - ahead)
		if wait := refreshTime(start, expires, "uid").Sub(start); wait < minRefresh || wait > 6*time.Minute {
			t.Errorf("%s ahead: the next token after %s", ahead, wait)
		}
	}
}
