//go:build component

package pullsecret

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/test/controlplane"
)

var shared = controlplane.NewShared()

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

// live is the controller on a real API; Config comes from a source in memory.
type live struct {
	client  kubernetes.Interface
	configs *watch.FakeWatcher
	mu      sync.Mutex
	events  []string
	// sent are the requests of the controller, by method and path.
	sent map[string]int
}

// counting counts the requests of the controller.
type counting struct {
	*live
	next http.RoundTripper
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	c.sent[r.Method+" "+r.URL.Path]++
	c.mu.Unlock()
	return c.next.RoundTrip(r)
}

// count sums the requests whose method and path satisfy which.
func (l *live) count(which func(request string) bool) (sum int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for request, times := range l.sent {
		if which(request) {
			sum += times
		}
	}
	return sum
}

func startLive(t *testing.T, operand string) *live {
	t.Helper()
	return startLiveOn(t, shared.Get(t), operand, func(*Controller) {})
}

// startLiveOn runs the controller on a control plane, after tune has changed it.
func startLiveOn(t *testing.T, plane *controlplane.ControlPlane, operand string, tune func(*Controller)) *live {
	t.Helper()
	l := &live{configs: watch.NewFake(), sent: map[string]int{}}
	counted := ClientConfig(plane.Config)
	counted.Wrap(func(next http.RoundTripper) http.RoundTripper { return counting{l, next} })
	client := kubernetes.NewForConfigOrDie(counted)
	l.client = kubernetes.NewForConfigOrDie(plane.Config)
	config := configWith(imageregistryv1.Managed, imageregistryv1.Managed)
	configs := cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			return &imageregistryv1.ConfigList{Items: []imageregistryv1.Config{*config}}, nil
		},
		WatchFuncWithContext: func(_ context.Context, options metav1.ListOptions) (watch.Interface, error) {
			if options.SendInitialEvents != nil { // the source in memory can only list and watch
				return nil, apierrors.NewInvalid(imageregistryv1.SchemeGroupVersion.WithKind("Config").GroupKind(), "", nil)
			}
			return l.configs, nil
		},
	}, &imageregistryv1.Config{}, 0, cache.Indexers{})

	ctx, cancel := context.WithCancel(context.Background())
	create(t, client, operand)
	_, err := client.CoreV1().Services(operand).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: registryService},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 5000}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	namespaced := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(operand))
	cluster := informers.NewSharedInformerFactory(client, 0)
	controller, err := New(Options{
		Client: client, Namespaced: namespaced, Namespaces: cluster.Core().V1().Namespaces(), Configs: configs,
		Namespace: operand, ClusterDomain: "cluster.local",
		Events: func(_, reason, _ string) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.events = append(l.events, reason)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	tune(controller)
	namespaced.Start(ctx.Done())
	cluster.Start(ctx.Done())
	var group sync.WaitGroup
	group.Go(func() { configs.Run(ctx.Done()) })
	group.Go(func() { controller.Run(ctx, 4) })
	t.Cleanup(func() { cancel(); group.Wait(); namespaced.Shutdown(); cluster.Shutdown() })
	return l
}

func create(t *testing.T, client kubernetes.Interface, namespace string) {
	t.Helper()
	_, err := client.CoreV1().Namespaces().Create(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, holds func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !holds(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

func (l *live) account(t *testing.T, namespace, name string) *corev1.ServiceAccount {
	t.Helper()
	create(t, l.client, namespace)
	account, err := l.client.CoreV1().ServiceAccounts(namespace).Create(context.Background(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return account
}

func (l *live) referenced(ctx context.Context, namespace, name string) bool {
	account, err := l.client.CoreV1().ServiceAccounts(namespace).Get(ctx, name, metav1.GetOptions{})
	return err == nil && references(account, SecretName(name))
}

// credentialOf decodes the Secret of an account and returns its hosts and its token.
func (l *live) credentialOf(t *testing.T, namespace, name string) (hosts []string, token string) {
	t.Helper()
	secret, err := l.client.CoreV1().Secrets(namespace).Get(context.Background(), SecretName(name), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var decoded struct {
		Auths map[string]struct {
			Auth string `json:"auth"`
		} `json:"auths"`
	}
	if err := json.Unmarshal(secret.Data[corev1.DockerConfigJsonKey], &decoded); err != nil {
		t.Fatal(err)
	}
	for host, entry := range decoded.Auths {
		text, err := base64.StdEncoding.DecodeString(entry.Auth)
		user, password, found := strings.Cut(string(text), ":")
		if err != nil || !found || user != name {
			t.Fatalf("host %s: credential does not decode to %s and a token", host, name)
		}
		hosts, token = append(hosts, host), password
	}
	slices.Sort(hosts)
	return hosts, token
}

func (l *live) authenticated(t *testing.T, token string, audiences ...string) authenticationv1.TokenReviewStatus {
	t.Helper()
	review, err := l.client.AuthenticationV1().TokenReviews().Create(context.Background(), &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return review.Status
}

// Behaviours 60, 61, 64, 66 and 68, on one API server, since each step builds on the one before.
func TestPullSecretsOnARealAPI(t *testing.T) {
	l := startLive(t, "image-registry-system")
	ctx := context.Background()
	l.account(t, "team-b", "app-puller")
	eventually(t, "the reference of the new account", func(ctx context.Context) bool { return l.referenced(ctx, "team-b", "app-puller") })

	hosts, token := l.credentialOf(t, "team-b", "app-puller")
	if len(hosts) != 3 || !slices.Contains(hosts, "image-registry.image-registry-system.svc:5000") {
		t.Errorf("hosts %q, want both names and the address", hosts)
	}
	if status := l.authenticated(t, token, "image-registry.alauda.io"); !status.Authenticated ||
		status.User.Username != "system:serviceaccount:team-b:app-puller" {
		t.Errorf("token with its own audience: %+v", status)
	}
	if status := l.authenticated(t, token); status.Authenticated {
		t.Error("the token is good for the API server")
	}

	t.Run("foreign Secret is untouched", func(t *testing.T) {
		create(t, l.client, "team-c")
		foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: SecretName("other")}, StringData: map[string]string{"a": "b"}}
		if _, err := l.client.CoreV1().Secrets("team-c").Create(ctx, foreign, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		l.account(t, "team-c", "other")
		eventually(t, "the event about the foreign Secret", func(context.Context) bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return slices.Contains(l.events, "PullSecretNameConflict")
		})
		secret, err := l.client.CoreV1().Secrets("team-c").Get(ctx, SecretName("other"), metav1.GetOptions{})
		if err != nil || string(secret.Data["a"]) != "b" || len(secret.Labels) != 0 || l.referenced(ctx, "team-c", "other") {
			t.Errorf("foreign Secret %v, error %v, or it is referenced", secret.Labels, err)
		}
	})

	t.Run("a stripping writer causes no second Secret", func(t *testing.T) {
		before, err := l.client.CoreV1().Secrets("team-b").Get(ctx, SecretName("app-puller"), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			patch := []byte(`{"imagePullSecrets":[{"name":"mine"}]}`)
			if _, err := l.client.CoreV1().ServiceAccounts("team-b").Patch(ctx, "app-puller", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the reference after it was stripped", func(ctx context.Context) bool { return l.referenced(ctx, "team-b", "app-puller") })
		}
		secrets, err := l.client.CoreV1().Secrets("team-b").List(ctx, metav1.ListOptions{})
		if err != nil || len(secrets.Items) != 1 || secrets.Items[0].UID != before.UID || secrets.Items[0].ResourceVersion != before.ResourceVersion {
			t.Errorf("%d Secrets, error %v, or the Secret was written", len(secrets.Items), err)
		}
	})

	t.Run("a deleted Secret voids its token and comes back", func(t *testing.T) {
		if err := l.client.CoreV1().Secrets("team-b").Delete(ctx, SecretName("app-puller"), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a new token", func(ctx context.Context) bool {
			secret, err := l.client.CoreV1().Secrets("team-b").Get(ctx, SecretName("app-puller"), metav1.GetOptions{})
			return err == nil && secret.Annotations[expiresAnnotation] != ""
		})
		eventually(t, "the end of the old token", func(context.Context) bool {
			return !l.authenticated(t, token, "image-registry.alauda.io").Authenticated
		})
	})

	t.Run("Removed takes everything away", func(t *testing.T) {
		l.configs.Modify(configWith(imageregistryv1.Removed, imageregistryv1.Managed))
		eventually(t, "the end of references and Secrets", func(ctx context.Context) bool {
			secrets, err := l.client.CoreV1().Secrets("").List(ctx, metav1.ListOptions{LabelSelector: ManagedLabel})
			return err == nil && len(secrets.Items) == 0 && !l.referenced(ctx, "team-b", "app-puller")
		})
		account, err := l.client.CoreV1().ServiceAccounts("team-b").Get(ctx, "app-puller", metav1.GetOptions{})
		if err != nil || !slices.Equal(account.ImagePullSecrets, []corev1.LocalObjectReference{{Name: "mine"}}) {
			t.Errorf("references left %v, error %v", account.ImagePullSecrets, err)
		}
	})
}
