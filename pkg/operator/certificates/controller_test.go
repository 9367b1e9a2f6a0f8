package certificates

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
	clocktesting "k8s.io/utils/clock/testing"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
)

type fixture struct {
	*Controller
	client  *fake.Clientset
	factory informers.SharedInformerFactory
	clock   *clocktesting.FakeClock
	events  []string
	changes int
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{client: fake.NewClientset(), clock: clocktesting.NewFakeClock(start)}
	f.factory = informers.NewSharedInformerFactoryWithOptions(f.client, 0, informers.WithNamespace("ns"))
	c, err := New(Options{
		Client: f.client, Namespaced: f.factory, Namespace: "ns", ClusterDomain: "example.test", Clock: f.clock,
		Configs:  cache.NewSharedIndexInformer(&cache.ListWatch{}, &imageregistryv1.Config{}, 0, cache.Indexers{}),
		Events:   func(_, reason, _ string) { f.events = append(f.events, reason) },
		OnChange: func() { f.changes++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Controller = c
	return f
}

func (f *fixture) setState(t *testing.T, state imageregistryv1.ManagementState) {
	t.Helper()
	config := &imageregistryv1.Config{ObjectMeta: metav1.ObjectMeta{Name: "cluster"}}
	config.Spec.ManagementState = state
	if err := f.Configs.GetIndexer().Add(config); err != nil {
		t.Fatal(err)
	}
	var services []corev1.Service
	if state == imageregistryv1.Managed {
		services = []corev1.Service{service(registryService), service(apiServerService)}
	}
	replace(t, f.factory.Core().V1().Services().Informer(), services)
}

func service(name string) corev1.Service {
	return corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name},
		Spec:       corev1.ServiceSpec{ClusterIPs: []string{"198.18.0.7"}},
	}
}

// sync fills the caches from the fake cluster, syncs once and returns the number of writes.
func (f *fixture) sync(t *testing.T) int {
	t.Helper()
	ctx := context.Background()
	secrets, err := f.client.CoreV1().Secrets("ns").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	configMaps, err := f.client.CoreV1().ConfigMaps("ns").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	core := f.factory.Core().V1()
	replace(t, core.Secrets().Informer(), secrets.Items)
	replace(t, core.ConfigMaps().Informer(), configMaps.Items)
	f.client.ClearActions()
	if _, err := f.Sync(ctx); err != nil {
		t.Fatalf("sync: %v", err)
	}
	return len(f.client.Actions())
}

func replace[T any](t *testing.T, informer cache.SharedIndexInformer, items []T) {
	t.Helper()
	objects := make([]any, 0, len(items))
	for i := range items {
		objects = append(objects, &items[i])
	}
	if err := informer.GetIndexer().Replace(objects, ""); err != nil {
		t.Fatal(err)
	}
}

func TestSecondSyncWritesNothing(t *testing.T) {
	f := newFixture(t)
	f.setState(t, imageregistryv1.Managed)
	if writes := f.sync(t); writes != 5 {
		t.Errorf("first sync: %d writes, want CA, bundle and three leaves: %v", writes, f.client.Actions())
	}
	if writes := f.sync(t); writes != 0 {
		t.Errorf("second sync writes: %v", f.client.Actions())
	}
	if len(f.events) != 4 || f.changes != 1 {
		t.Errorf("events %v, %d changes of the status", f.events, f.changes)
	}
	status := f.Status()
	if len(status.Certificates) != 4 || len(status.Bundle) == 0 || status.Err != nil {
		t.Errorf("status has %d certificates, %d bytes of bundle, error %v", len(status.Certificates), len(status.Bundle), status.Err)
	}
	f.setState(t, imageregistryv1.Removed)
	if writes := f.sync(t); writes != 2 {
		t.Errorf("removed: %v, want two deletions", f.client.Actions())
	}
	if writes := f.sync(t); writes != 0 {
		t.Errorf("removed, second sync writes: %v", f.client.Actions())
	}
}

func TestWithoutConfigOnlyAuthorityAndOwnCertificateExist(t *testing.T) {
	f := newFixture(t)
	if writes := f.sync(t); writes != 3 {
		t.Errorf("writes %v, want CA, bundle and the operator's certificate", f.client.Actions())
	}
}

func TestWrongTypeIsReplaced(t *testing.T) {
	f := newFixture(t)
	f.setState(t, imageregistryv1.Managed)
	f.sync(t)
	ctx := context.Background()
	live, err := f.client.CoreV1().Secrets("ns").Get(ctx, RegistrySecretName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	live.Type = corev1.SecretTypeOpaque
	if _, err := f.client.CoreV1().Secrets("ns").Update(ctx, live, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	f.sync(t)
	live, err = f.client.CoreV1().Secrets("ns").Get(ctx, RegistrySecretName, metav1.GetOptions{})
	if err != nil || live.Type != corev1.SecretTypeTLS {
		t.Errorf("type %s, error %v", live.Type, err)
	}
}

func TestFailureIsKeptUntilASuccess(t *testing.T) {
	f := newFixture(t)
	f.report(Result{}, context.DeadlineExceeded)
	f.clock.Step(time.Minute)
	f.report(Result{}, context.DeadlineExceeded)
	if since := f.Status().FailingSince; !since.Equal(start) {
		t.Errorf("failing since %s, want %s", since, start)
	}
	f.sync(t)
	if status := f.Status(); !status.FailingSince.IsZero() || status.Err != nil {
		t.Errorf("after a success: %v since %s", status.Err, status.FailingSince)
	}
}
