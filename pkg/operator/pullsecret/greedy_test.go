package pullsecret

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	clienttesting "k8s.io/client-go/testing"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/keyed"
)

// A namespace with thousands of ServiceAccounts costs another one its own turn, and new ServiceAccounts without end
// let no token of others run out.
func TestNamespacesTakeTurns(t *testing.T) {
	queue := priorityQueue{urgent: func(key types.NamespacedName) bool { return strings.HasPrefix(key.Name, "new") }}
	for i := range 5000 {
		queue.Push(types.NamespacedName{Namespace: "greedy", Name: fmt.Sprintf("new-%d", i)})
	}
	queue.Push(types.NamespacedName{Namespace: "modest", Name: "new"})
	queue.Push(types.NamespacedName{Namespace: "modest", Name: "refresh"})
	positions := map[string]int{}
	for n := range 5002 {
		key := queue.Pop()
		positions[key.String()] = n
	}
	if queue.Len() != 0 || len(positions) != 5002 {
		t.Fatalf("%d left, %d served", queue.Len(), len(positions))
	}
	for key, latest := range map[string]int{"modest/new": 2, "modest/refresh": urgentInARow} {
		if positions[key] > latest {
			t.Errorf("%s was served after %d others, want at most %d", key, positions[key], latest)
		}
	}
	if positions["greedy/new-1"] > positions["greedy/new-2"] {
		t.Error("the order within a namespace is not kept")
	}
	if queue.first.keys != nil || queue.first.turns != nil {
		t.Error("an empty queue keeps what a full one needed")
	}
}

// Many may be refused in one namespace, and each event of a ServiceAccount asks again. Others go on.
func TestANamespaceThatRefusesIsLeftInPeace(t *testing.T) {
	const many = 200
	objects := []runtime.Object{account()}
	for i := range many {
		crowded := account()
		crowded.Namespace, crowded.Name = "crowded", fmt.Sprintf("app-%d", i)
		objects = append(objects, crowded)
	}
	objects = append(objects, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "crowded"}})
	f := newFixture(t, objects...)
	asked, full := 0, true
	f.client.PrependReactor("create", "secrets", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if action.GetNamespace() != "crowded" || !full {
			return false, nil, nil
		}
		asked++
		return true, nil, apierrors.NewForbidden(corev1.Resource("secrets"), "x", errors.New("exceeded quota: few, requested: secrets=1, used: secrets=3, limited: secrets=3"))
	})
	round := func() {
		f.refresh(t)
		for i := range many {
			key := types.NamespacedName{Namespace: "crowded", Name: fmt.Sprintf("app-%d", i)}
			_, err := f.Sync(t.Context(), key)
			f.loop.Observe(key, err)
			if full && keyed.Classify(err) != keyed.Later {
				t.Fatalf("verdict %d about %v", keyed.Classify(err), err)
			}
		}
	}
	for range 10 {
		round()
	}
	if asked != refusalsInARow {
		t.Errorf("%d requests for a full namespace, want %d", asked, refusalsInARow)
	}
	expectVerbs(t, f.sync(t), "create secrets", "create serviceaccounts/token", "patch secrets", "patch serviceaccounts")
	f.clock.Step(2 * refusalPause)
	round()
	if asked != 2*refusalsInARow {
		t.Errorf("%d requests after the pause, want %d", asked, 2*refusalsInARow)
	}
	if i := slices.IndexFunc(f.events, func(reason string) bool { return reason != "PullSecretRefused" }); i >= 0 || len(f.events) == 0 {
		t.Errorf("events %q", f.events)
	}
	// The quota of one namespace is no failure of the registry.
	f.clock.Step(failingTolerance)
	f.refresh(t)
	if s, err := f.Summary(); err != nil || s.Degraded || s.Failing < many-1 || s.Ready != 1 {
		t.Errorf("summary %+v, error %v", s, err)
	}
	full = false
	round()
	if s, err := f.Summary(); err != nil || s.Failing != 0 {
		t.Errorf("summary %+v, error %v", s, err)
	}
}

// What is refused for other reasons counts, also while it waits for its turn.
func TestAPauseHidesNoFailure(t *testing.T) {
	f := newFixture(t, account())
	f.refuse("create", "secrets", "", func() error { return apierrors.NewInternalError(errors.New("the webhook does not answer")) })
	f.refresh(t)
	for range 3 * refusalsInARow {
		_, err := f.Sync(t.Context(), appKey)
		f.loop.Observe(appKey, err)
	}
	f.clock.Step(failingTolerance)
	_, err := f.Sync(t.Context(), appKey)
	f.loop.Observe(appKey, err)
	if s, err := f.Summary(); err != nil || !s.Degraded || s.Failing != 1 {
		t.Errorf("summary %+v, error %v", s, err)
	}
	if !slices.Equal(f.events, []string{"PullSecretRefused"}) {
		t.Errorf("events %q", f.events)
	}
	if err := f.client.CoreV1().ServiceAccounts("team").Delete(t.Context(), "app", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	f.sync(t)
	if len(f.refusals.rows) != 0 {
		t.Error("a namespace without ServiceAccounts is remembered")
	}
}

// The users of a namespace decide how large its objects are, but not how much of them is kept.
func TestTheCacheIsBoundedWhateverUsersWrite(t *testing.T) {
	const most = 16 << 10
	large := strings.Repeat("x", 1<<20)
	secret := newSecret(accountFrom(account()))
	for _, name := range []string{accountAnnotation, expiresAnnotation, refreshAnnotation, hostsHashAnnotation, keyIDAnnotation, dataHashAnnotation} {
		secret.Annotations[name] = large
	}
	secret.Type, secret.Data["x"] = corev1.SecretType(large), []byte(large)
	secret.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: accountKind, Name: large, UID: types.UID(large)}}
	for range 1000 {
		secret.OwnerReferences = append(secret.OwnerReferences, secret.OwnerReferences[0])
	}
	referring := account("app-registry-pull")
	for i := range 5000 {
		referring.ImagePullSecrets = append(referring.ImagePullSecrets, corev1.LocalObjectReference{Name: fmt.Sprintf("%0253d", i)})
	}
	referring.Annotations = map[string]string{InjectAnnotation: large, "other": large}
	for object, transform := range map[any]func(any) (any, error){secret: keepSecret, referring: keepAccount} {
		kept, err := transform(object)
		if text := fmt.Sprintf("%+v %v", kept, kept.(metav1.ObjectMetaAccessor).GetObjectMeta()); err != nil || len(text) > most {
			t.Errorf("%d characters are kept of a %T, error %v", len(text), object, err)
		}
		if account, ok := kept.(*Account); ok && (!account.Long || !account.Refers) {
			t.Errorf("%+v", account)
		}
	}
}

// A long list is read again before it is written, and nothing of it is lost.
func TestHundredsOfReferencesSurvive(t *testing.T) {
	var names []string
	for i := range 400 {
		names = append(names, fmt.Sprintf("theirs-%d", i))
	}
	f := newFixture(t, account(names...))
	expectVerbs(t, f.sync(t), "create secrets", "create serviceaccounts/token", "patch secrets", "get serviceaccounts", "patch serviceaccounts")
	if got := accountFrom(f.account(t)).References; !slices.Equal(got, append(slices.Clone(names), "app-registry-pull")) {
		t.Errorf("references %q", got)
	}
	expectVerbs(t, f.sync(t))
	f.config = configWith(imageregistryv1.Managed, imageregistryv1.Removed)
	expectVerbs(t, f.sync(t), "get serviceaccounts", "patch serviceaccounts", "delete secrets")
	if got := accountFrom(f.account(t)).References; !slices.Equal(got, names) {
		t.Errorf("references %q", got)
	}
}

// Behaviour 63. The shortened form of a long name is a name that another ServiceAccount may have, by chance or on
// purpose. Whoever has the Secret keeps it; the other is told, and nobody's Secret is deleted.
func TestTwoServiceAccountsDoNotFightForOneSecret(t *testing.T) {
	long := account()
	long.Name, long.UID = strings.Repeat("a", 250), "uid-long"
	short := account()
	short.Name, short.UID = strings.TrimSuffix(SecretName(long.Name), nameSuffix), "uid-short"
	if SecretName(short.Name) != SecretName(long.Name) {
		t.Fatalf("%s and %s do not collide", short.Name, long.Name)
	}
	f := newFixture(t, long, short)
	verbs := func(name string) []string {
		t.Helper()
		f.refresh(t)
		if _, err := f.Sync(t.Context(), types.NamespacedName{Namespace: "team", Name: name}); err != nil {
			t.Fatal(err)
		}
		var verbs []string
		for _, action := range f.client.Actions() {
			verbs = append(verbs, action.GetVerb()+" "+action.GetResource().Resource)
		}
		return verbs
	}
	verbs(long.Name)
	for range 3 {
		expectVerbs(t, verbs(short.Name), "create secrets", "get secrets")
		expectVerbs(t, verbs(long.Name))
	}
	if !slices.Equal(f.events, []string{"PullSecretNameConflict"}) || f.tokens != 1 {
		t.Errorf("events %q, %d tokens", f.events, f.tokens)
	}
	live, err := f.client.CoreV1().ServiceAccounts("team").Get(t.Context(), short.Name, metav1.GetOptions{})
	if err != nil || len(live.ImagePullSecrets) != 0 {
		t.Errorf("references %v, error %v", live, err)
	}
	live.Annotations = map[string]string{InjectAnnotation: "false"}
	if _, err := f.client.CoreV1().ServiceAccounts("team").Update(t.Context(), live, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	expectVerbs(t, verbs(short.Name))
	if s, err := f.Summary(); err != nil || s.Ready != 1 || s.Expired != 0 {
		t.Errorf("summary %+v, error %v", s, err)
	}
}

// The part of a long name that stays may end with a dot.
func TestNamesOfSecretsAreNames(t *testing.T) {
	for _, account := range []string{
		strings.Repeat("a", 229) + "." + strings.Repeat("b", 20), strings.Repeat("a", 228) + "-0" + strings.Repeat("b", 20),
		strings.Repeat("a.", 126) + "a", strings.Repeat("a", 240),
	} {
		if problems := validation.IsDNS1123Subdomain(SecretName(account)); len(problems) > 0 {
			t.Errorf("%s: %q", SecretName(account), problems)
		}
	}
}

// A name that is taken costs no request for each change of its ServiceAccount, and nobody is told twice.
func TestATakenNameIsAskedAboutAtAPace(t *testing.T) {
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app-registry-pull", UID: "x"}}
	f := newFixture(t, account(), foreign)
	requests := 0
	for range 100 {
		requests += len(f.sync(t))
		f.clock.Step(100 * time.Millisecond)
	}
	if requests > 2*injectionsPerMinute {
		t.Errorf("%d requests in ten seconds", requests)
	}
	if !slices.Equal(f.events, []string{"PullSecretNameConflict"}) {
		t.Errorf("events %q", f.events)
	}
}

// A Secret that somebody made under the managed name, labelled and noted as expired, is not the operator's to refresh.
func TestAForgedSecretMakesNothingDegraded(t *testing.T) {
	forged := copied(newSecret(accountFrom(account())), SecretName("app"))
	forged.Type = corev1.SecretTypeOpaque
	forged.Annotations[expiresAnnotation] = start.Add(-time.Hour).Format(time.RFC3339)
	f := newFixture(t, account(SecretName("app")), forged)
	f.sync(t)
	f.refresh(t)
	if s, err := f.Summary(); err != nil || s.Degraded || s.Expired != 0 || s.Ready != 0 {
		t.Errorf("summary %+v, error %v", s, err)
	}
}

// Who changes his Namespace on and on makes nobody look at its ServiceAccounts.
func TestOnlyWhatCountsOfANamespaceIsLookedAt(t *testing.T) {
	namespace := func(label, note string, deleted bool) *corev1.Namespace {
		out := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team", UID: "u", Annotations: map[string]string{"note": note}}}
		if label != "" {
			out.Labels = map[string]string{IgnoreLabel: label}
		}
		if deleted {
			out.DeletionTimestamp = &metav1.Time{Time: start}
		}
		return out
	}
	before := namespace("", "a", false)
	for name, test := range map[string]struct {
		after any
		want  bool
	}{
		"annotated":       {namespace("", "b", false), true},
		"ignored":         {namespace("true", "a", false), false},
		"being deleted":   {namespace("", "a", true), false},
		"something else":  {&corev1.Service{}, false},
		"made once again": {&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team", UID: "v"}}, false},
	} {
		if got := sameForUs(before, test.after); got != test.want {
			t.Errorf("%s: the same %t, want %t", name, got, test.want)
		}
	}
}

// A namespace that had no room and is refused for another reason since is a failure of the registry again, from then on.
func TestARoomThatWasMadeHidesNoOtherFailure(t *testing.T) {
	f := newFixture(t, account())
	refusal := error(apierrors.NewForbidden(corev1.Resource("secrets"), "x", errors.New("exceeded quota: few, requested: secrets=1, used: secrets=3, limited: secrets=3")))
	f.refuse("create", "secrets", "", func() error { return refusal })
	attempt := func() {
		f.refresh(t)
		_, err := f.Sync(t.Context(), appKey)
		f.loop.Observe(appKey, err)
	}
	degraded := func(when string, want bool) {
		t.Helper()
		if s, err := f.Summary(); err != nil || s.Degraded != want || s.Failing != 1 {
			t.Errorf("%s: summary %+v, error %v, want degraded: %t", when, s, err, want)
		}
	}
	attempt()
	f.clock.Step(2 * failingTolerance)
	degraded("without room", false)
	refusal = apierrors.NewInternalError(errors.New("the webhook does not answer"))
	attempt()
	degraded("refused a moment ago", false)
	f.clock.Step(failingTolerance)
	degraded("refused for long", true)
}

// Who lays out Secrets under the managed name that cannot be mended, in the operator's own name, makes it delete them
// at the pace of a repair.
func TestSecretsThatCannotBeMendedAreDeletedAtAPace(t *testing.T) {
	f := newFixture(t, account())
	deletions := 0
	for range 300 {
		forged := newSecret(accountFrom(account()))
		forged.UID, forged.Type = "forged", corev1.SecretTypeOpaque
		if _, err := f.client.CoreV1().Secrets("team").Create(t.Context(), forged, metav1.CreateOptions{FieldManager: fieldManager}); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
		for _, verb := range f.sync(t) {
			if verb == "delete secrets" {
				deletions++
			}
		}
		f.clock.Step(time.Second)
	}
	if deletions == 0 || deletions > 10 {
		t.Errorf("%d deletions in five minutes", deletions)
	}
	if !slices.Equal(f.events, []string{"DriftConflict"}) {
		t.Errorf("events %q", f.events)
	}
}
