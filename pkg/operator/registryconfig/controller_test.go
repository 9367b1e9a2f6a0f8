package registryconfig

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/informers"
	kubefake "k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
	clocktesting "k8s.io/utils/clock/testing"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/client-go/clientset/versioned/fake"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/bootstrap"
	"image.alauda.io/registry/pkg/operator/render"
)

// fixture is a controller whose caches stay empty, as in a cluster without any operand, unless a test fills them.
type fixture struct {
	*Controller
	registry *fake.Clientset
	dynamic  *dynamicfake.FakeDynamicClient
	clock    *clocktesting.FakeClock
	events   []string
}

func newFixture(t *testing.T, config *registryv1.Config, objects ...runtime.Object) *fixture {
	t.Helper()
	f := &fixture{
		registry: fake.NewClientset(config),
		clock:    clocktesting.NewFakeClock(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)),
	}
	lists := map[schema.GroupVersionResource]string{}
	for _, kind := range apply.Kinds() {
		lists[kind.GVR()] = kind.GVK.Kind + "List"
	}
	for _, records := range recordKinds {
		lists[records] = records.Resource + "List"
	}
	kube, untyped := kubefake.NewClientset(), dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, objects...)
	f.dynamic = untyped
	owned := apply.NewCache(untyped, "ns", "x=y", 0)
	applier, err := apply.New(apply.Options{Client: untyped, Cache: owned, FieldManager: "m", OwnedAnnotation: "o"})
	if err != nil {
		t.Fatal(err)
	}
	f.Controller, err = New(Options{
		Kube: kube, Configs: f.registry.ImageregistryV1().Configs(), Applier: applier,
		ConfigInformer: cache.NewSharedIndexInformer(&cache.ListWatch{}, &registryv1.Config{}, 0, cache.Indexers{}),
		PrunerInformer: cache.NewSharedIndexInformer(&cache.ListWatch{}, &registryv1.ImagePruner{}, 0, cache.Indexers{}),
		Namespaced:     informers.NewSharedInformerFactoryWithOptions(kube, 0, informers.WithNamespace("ns")),
		Cluster:        informers.NewSharedInformerFactory(kube, 0),
		Settings: render.Settings{
			Namespace: "ns", ClusterDomain: "example.test", Version: "v1",
			Images: render.Images{Registry: "r", APIServer: "a", NodeCA: "n", Pruner: "p"},
		},
		Preflight:    &untested{},
		Certificates: func() Certificates { return Certificates{} },
		PullSecrets:  func() PullSecrets { return PullSecrets{} },
		Events:       func(_, reason, _ string) { f.events = append(f.events, reason) },
		Clock:        f.clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// sync syncs once and returns how many requests changed something.
func (f *fixture) sync(t *testing.T) int {
	t.Helper()
	f.registry.ClearActions()
	if _, err := f.Sync(context.Background()); err != nil {
		t.Fatalf("sync: %v", err)
	}
	writes := 0
	for _, action := range f.registry.Actions() {
		if action.GetVerb() != "get" {
			writes++
		}
	}
	return writes
}

func (f *fixture) config(t *testing.T) *registryv1.Config {
	t.Helper()
	config, err := f.Configs.Get(context.Background(), registryv1.SingletonName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// Behaviour 37: no status write when nothing changed; lastTransitionTime moves only with the status.
func TestStatusIsWrittenOnlyWithNews(t *testing.T) {
	f := newFixture(t, bootstrap.DefaultConfig())
	if writes := f.sync(t); writes != 1 {
		t.Fatalf("first sync: %d writes, want one of the status: %v", writes, f.registry.Actions())
	}
	first := f.config(t)
	for range 3 {
		f.clock.Step(7 * time.Minute)
		if writes := f.sync(t); writes != 0 {
			t.Errorf("nothing changed, but %v", f.registry.Actions())
		}
	}

	changed := f.config(t)
	changed.Spec.ManagementState = registryv1.Unmanaged
	if _, err := f.Configs.Update(context.Background(), changed, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if writes := f.sync(t); writes != 1 {
		t.Errorf("another state: %d writes, want one of the status: %v", writes, f.registry.Actions())
	}
	before := map[string]registryv1.OperatorCondition{}
	for _, condition := range first.Status.Conditions {
		before[condition.Type] = condition
	}
	moved := 0
	for _, condition := range f.config(t).Status.Conditions {
		old, known := before[condition.Type]
		if !known {
			continue
		}
		same := old.LastTransitionTime.Equal(&condition.LastTransitionTime)
		if same != (old.Status == condition.Status) {
			t.Errorf("%s went from %s to %s, and its time from %s to %s", condition.Type, old.Status, condition.Status, old.LastTransitionTime, condition.LastTransitionTime)
		}
		if !same {
			moved++
		}
	}
	if moved == 0 {
		t.Error("no condition changed with the state")
	}
	if writes := f.sync(t); writes != 0 {
		t.Errorf("nothing changed, but %v", f.registry.Actions())
	}
}

func TestTheLastRunOfThePrunerIsShown(t *testing.T) {
	f := newFixture(t, bootstrap.DefaultConfig())
	pruner := bootstrap.DefaultPruner()
	if err := f.PrunerInformer.GetIndexer().Add(pruner); err != nil {
		t.Fatal(err)
	}
	f.sync(t)
	if last := f.config(t).Status.LastPrune; last != nil {
		t.Errorf("%+v before the first run", last)
	}
	ended := metav1.NewTime(f.clock.Now())
	pruner.Status.LastRun = &registryv1.PruneRunStatus{CompletionTime: &ended, Result: "Failed"}
	if writes := f.sync(t); writes != 1 {
		t.Errorf("%d writes, want one of the status", writes)
	}
	last := f.config(t).Status.LastPrune
	if last == nil || last.Result != "Failed" || !last.CompletionTime.Equal(&ended) {
		t.Errorf("%+v, want a run that failed", last)
	}
	if writes := f.sync(t); writes != 0 {
		t.Errorf("nothing changed, but %v", f.registry.Actions())
	}
}

func TestAMissingConfigIsCreated(t *testing.T) {
	f := newFixture(t, bootstrap.DefaultConfig())
	if err := f.Configs.Delete(context.Background(), registryv1.SingletonName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	f.sync(t)
	if state := f.config(t).Spec.ManagementState; state != registryv1.Removed {
		t.Errorf("state %s, want Removed", state)
	}
	if len(f.events) != 1 || f.events[0] != "Bootstrapped" {
		t.Errorf("events %v, want Bootstrapped", f.events)
	}
}
