package certificates

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"
	clienttesting "k8s.io/client-go/testing"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
)

// errKilled is what every write meets after the operator was killed.
var errKilled = errors.New("the operator was killed")

// life is a cluster over years. Clients use each bundle for a while after it was replaced, and servers each
// pair: kubelets, agents and sleeping nodes take their time.
type life struct {
	*fixture
	t       *testing.T
	random  *rand.Rand
	config  *imageregistryv1.Config
	budget  int // writes until the operator is killed
	bundles []shown
	pairs   map[string][]shown
	kills   int
	checked int
	signers map[string]bool
}

// shown is content that others use from a time on; until is zero while it is current.
type shown struct {
	content string
	until   time.Time
}

func newLife(t *testing.T, seed uint64) *life {
	l := &life{fixture: newFixture(t), t: t, random: rand.New(rand.NewPCG(seed, 7)), budget: 1 << 30,
		pairs: map[string][]shown{}, signers: map[string]bool{}}
	l.setState(t, imageregistryv1.Managed)
	l.config = &imageregistryv1.Config{ObjectMeta: metav1.ObjectMeta{Name: "cluster", Annotations: map[string]string{}}}
	l.config.Spec.ManagementState = imageregistryv1.Managed
	l.client.PrependReactor("*", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if verb := action.GetVerb(); verb == "list" || verb == "get" {
			return false, nil, nil
		}
		if l.budget <= 0 {
			return true, nil, errKilled
		}
		l.budget--
		if create, ok := action.(clienttesting.CreateAction); ok { // as the API server does
			if object, err := meta.Accessor(create.GetObject()); err == nil {
				object.SetUID(uuid.NewUUID())
			}
		}
		return false, nil, nil
	})
	return l
}

// attempt syncs once; a killed operator begins anew without memory.
func (l *life) attempt() {
	l.t.Helper()
	if err := l.Configs.GetIndexer().Update(l.config); err != nil {
		l.t.Fatal(err)
	}
	secrets, configMaps := l.objects()
	core := l.factory.Core().V1()
	replace(l.t, core.Secrets().Informer(), secrets)
	replace(l.t, core.ConfigMaps().Informer(), configMaps)
	_, err := l.Sync(context.Background())
	if err != nil && !errors.Is(err, errKilled) {
		l.t.Fatalf("%s: %v", l.clock.Now(), err)
	}
	if err != nil {
		l.kills++
		l.told = map[Event]time.Time{}
	}
	l.client.ClearActions()
	l.budget = 1 << 30
}

func (l *life) objects() ([]corev1.Secret, []corev1.ConfigMap) {
	l.t.Helper()
	ctx := context.Background()
	secrets, err := l.client.CoreV1().Secrets("ns").List(ctx, metav1.ListOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
	configMaps, err := l.client.CoreV1().ConfigMaps("ns").List(ctx, metav1.ListOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
	return secrets.Items, configMaps.Items
}

// look notes what clients and servers can read now.
func (l *life) look() {
	l.t.Helper()
	now := l.clock.Now()
	secrets, configMaps := l.objects()
	for _, configMap := range configMaps {
		if text := configMap.Data[BundleKey]; configMap.Name == BundleConfigMapName && text != "" {
			l.bundles = show(l.bundles, text, now)
		}
	}
	for _, secret := range secrets {
		pair, err := parsePair(secret.Data[certKey], secret.Data[privateKey])
		switch {
		case err != nil: // servers keep what they have
		case secret.Name == CASecretName:
			l.signers[pair.cert.SerialNumber.String()] = true
		default:
			l.pairs[secret.Name] = show(l.pairs[secret.Name], string(secret.Data[certKey]), now)
		}
	}
}

func show(list []shown, content string, now time.Time) []shown {
	if n := len(list); n > 0 {
		if list[n-1].content == content {
			return list
		}
		list[n-1].until = now
	}
	return append(list, shown{content: content})
}

// check lets every client that may still have a bundle connect to every server that may still have a pair.
func (l *life) check(clients, servers time.Duration) {
	l.t.Helper()
	now := l.clock.Now()
	l.bundles = still(l.bundles, now, clients)
	for name := range l.pairs {
		l.pairs[name] = still(l.pairs[name], now, servers)
	}
	for _, bundle := range l.bundles {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(bundle.content))
		for name, pairs := range l.pairs {
			for _, pair := range pairs {
				leaf := certificatesIn([]byte(pair.content))[0]
				host := map[string]string{RegistrySecretName: registryService, APIServerSecretName: apiServerService, OperatorSecretName: operatorService}[name]
				if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, DNSName: host + ".ns.svc"}); err != nil {
					l.t.Fatalf("%s: a client whose bundle was current until %q refuses %s, current until %q: %v",
						now, stamp(bundle.until), name, stamp(pair.until), err)
				}
				l.checked++
			}
		}
	}
}

func still(list []shown, now time.Time, late time.Duration) []shown {
	var kept []shown
	for _, entry := range list {
		if entry.until.IsZero() || now.Sub(entry.until) <= late {
			kept = append(kept, entry)
		}
	}
	return kept
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}

// step lets time pass, perhaps kills the operator in the middle, and checks each state that others see.
func (l *life) step(pause, clients, servers time.Duration) {
	l.t.Helper()
	l.clock.Step(pause)
	if l.random.IntN(4) == 0 {
		l.budget = l.random.IntN(5)
		l.attempt()
		l.look()
		l.check(clients, servers)
		l.clock.Step(time.Duration(l.random.IntN(int(time.Hour))))
	}
	l.attempt()
	l.look()
	l.check(clients, servers)
}

// Behaviour 41. Whatever is asked for, and wherever the operator is killed: a client that has read the bundle in
// the last 24 hours connects to every server that has read its pair in the last hour.
func TestNoClientOfTheLastDayIsEverRefused(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			l := newLife(t, seed)
			l.attempt()
			l.look()
			for end := start.Add(7 * 365 * 24 * time.Hour); l.clock.Now().Before(end); {
				switch l.random.IntN(60) {
				case 0:
					l.config.Annotations[rotateCAAnnotation] = stamp(l.clock.Now())
				case 1:
					l.config.Annotations[rotateLeaf] = stamp(l.clock.Now())
				}
				pause := time.Duration(l.random.Int64N(int64(2 * time.Hour)))
				if l.random.IntN(2) == 0 { // nobody runs the operator for some days
					pause = time.Duration(l.random.Int64N(int64(12 * 24 * time.Hour)))
				}
				l.step(pause, 24*time.Hour-2*time.Second, time.Hour)
			}
			if len(l.signers) < 4 || l.kills < 5 {
				t.Errorf("%d signers and %d kills in seven years: the test has lost its subject", len(l.signers), l.kills)
			}
			t.Logf("%d connections, %d signers, %d kills", l.checked, len(l.signers), l.kills)
		})
	}
}

// Behaviours 41 and 45. The same with accidents: running clients take less than five minutes to learn of a
// bundle, and servers of a pair.
func TestAccidentsCostNoRunningClientItsTrust(t *testing.T) {
	accidents := map[string]func(*testing.T, *life){
		"CA deleted": func(t *testing.T, l *life) { l.remove(t, "secrets", CASecretName) },
		"CA damaged": func(t *testing.T, l *life) {
			l.damage(t, CASecretName, func(s *corev1.Secret) { delete(s.Data, privateKey) })
		},
		"CA emptied":    func(t *testing.T, l *life) { l.damage(t, CASecretName, func(s *corev1.Secret) { s.Data = nil }) },
		"CA notes lost": func(t *testing.T, l *life) { l.damage(t, CASecretName, dropNotes) },
		"next lost": func(t *testing.T, l *life) {
			l.damage(t, CASecretName, func(s *corev1.Secret) { delete(s.Data, nextKeyKey) })
		},
		"CA immutable": func(t *testing.T, l *life) {
			l.damage(t, CASecretName, func(s *corev1.Secret) { yes := true; s.Immutable = &yes })
		},
		"leaf deleted": func(t *testing.T, l *life) { l.remove(t, "secrets", RegistrySecretName) },
		"leaf swapped": func(t *testing.T, l *life) { l.swap(t) },
		"leaf immutable": func(t *testing.T, l *life) {
			l.damage(t, APIServerSecretName, func(s *corev1.Secret) { yes := true; s.Immutable = &yes })
		},
		"bundle deleted": func(t *testing.T, l *life) { l.remove(t, "configmaps", BundleConfigMapName) },
		"foreign keys": func(t *testing.T, l *life) {
			l.damage(t, CASecretName, func(s *corev1.Secret) { s.Data = map[string][]byte{"x": make([]byte, 900<<10)} })
		},
		"supplied signer":  func(t *testing.T, l *life) { l.damage(t, CASecretName, supplySigner(t, l)) },
		"generated signer": func(t *testing.T, l *life) { l.remove(t, "secrets", CASecretName) },
		"rotation":         func(_ *testing.T, l *life) { l.config.Annotations[rotateCAAnnotation] = stamp(l.clock.Now()) },
	}
	names := slices.Sorted(maps.Keys(accidents))
	l := newLife(t, 11)
	l.attempt()
	l.look()
	for range 100 {
		name := names[l.random.IntN(len(names))]
		accidents[name](t, l)
		t.Logf("%s: %s", l.clock.Now().Format(time.RFC3339), name)
		l.soon()
		if len(l.Status().Problems) > 0 { // the administrator reads the condition and does what it says
			l.remove(t, "secrets", CASecretName)
			l.soon()
		}
		l.step(time.Duration(l.random.Int64N(int64(30*24*time.Hour))), settleTime-2*time.Second, settleTime)
	}
	if l.kills < 15 {
		t.Errorf("%d kills: the test has lost its subject", l.kills)
	}
}

func (l *life) soon() {
	l.t.Helper()
	for range 6 {
		l.step(time.Duration(l.random.Int64N(int64(4*time.Minute))), settleTime-2*time.Second, settleTime)
	}
}

func (l *life) remove(t *testing.T, resource, name string) {
	t.Helper()
	core := l.client.CoreV1()
	var err error
	if resource == "secrets" {
		err = core.Secrets("ns").Delete(context.Background(), name, metav1.DeleteOptions{})
	} else {
		err = core.ConfigMaps("ns").Delete(context.Background(), name, metav1.DeleteOptions{})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
}

func (l *life) damage(t *testing.T, name string, change func(*corev1.Secret)) {
	t.Helper()
	secrets := l.client.CoreV1().Secrets("ns")
	secret, err := secrets.Get(context.Background(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	change(secret)
	if _, err := secrets.Update(context.Background(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// swap gives the registry the pair of the API server.
func (l *life) swap(t *testing.T) {
	t.Helper()
	l.damage(t, APIServerSecretName, func(other *corev1.Secret) {
		l.damage(t, RegistrySecretName, func(s *corev1.Secret) { s.Data[privateKey] = other.Data[privateKey] })
	})
}

func dropNotes(s *corev1.Secret) {
	delete(s.Annotations, promoteAnnotation)
	delete(s.Annotations, previousAnnotation)
}

// supplySigner makes the CA Secret one of the administrator.
func supplySigner(t *testing.T, l *life) func(*corev1.Secret) {
	signer, err := newSigner(l.clock.Now(), DefaultLifetimes().CA)
	if err != nil {
		t.Fatal(err)
	}
	return func(s *corev1.Secret) {
		s.Annotations = nil
		s.Data = map[string][]byte{certKey: signer.certPEM, privateKey: signer.keyPEM}
	}
}
