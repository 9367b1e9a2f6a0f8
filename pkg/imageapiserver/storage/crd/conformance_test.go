//go:build component

package crd

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsclient "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	"k8s.io/apimachinery/pkg/api/apitesting"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/apis/example"
	examplev1 "k8s.io/apiserver/pkg/apis/example/v1"
	"k8s.io/apiserver/pkg/storage"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
	"k8s.io/apiserver/pkg/storage/value"
	"k8s.io/apiserver/pkg/storage/value/encrypt/identity"

	"image.alauda.io/registry/pkg/imageapiserver/storage/compress"
	"image.alauda.io/registry/test/controlplane"
)

// The suite uses namespaces that nobody created.
var shared = controlplane.NewShared(controlplane.WithAPIServerFlags("--disable-admission-plugins=NamespaceLifecycle"))

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

var podRecords = schema.GroupVersion{Group: "storage.example.test", Version: "v1"}

// newPodStore returns a store for the suite's Pods in a record kind of its own.
func newPodStore(t *testing.T, namespaced bool) *suiteStore {
	t.Helper()
	return newPodStoreOn(t, shared.Get(t), namespaced)
}

func newPodStoreOn(t *testing.T, cp *controlplane.ControlPlane, namespaced bool) *suiteStore {
	t.Helper()
	client, err := NewClient(cp.Config, podRecords)
	if err != nil {
		t.Fatal(err)
	}
	resource := "clusterpods"
	if namespaced {
		resource = "namespacedpods"
	}
	createRecordKind(t, cp, resource, namespaced)

	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, metav1.SchemeGroupVersion)
	utilruntime.Must(example.AddToScheme(scheme))
	utilruntime.Must(examplev1.AddToScheme(scheme))
	codec := apitesting.TestCodec(serializer.NewCodecFactory(scheme), examplev1.SchemeGroupVersion)

	config := Config{
		Client: client, Records: podRecords.WithResource(resource), RecordKind: resource,
		Namespaced: namespaced, Codec: codec, ResourcePrefix: "/pods",
		NewFunc: func() runtime.Object { return &example.Pod{} },
	}
	result := &suiteStore{}
	for compressed, target := range map[bool]**Store{true: &result.compressing, false: &result.plain} {
		if config.Compressor, err = compress.New(compressed); err != nil {
			t.Fatal(err)
		}
		if *target, err = New(config); err != nil {
			t.Fatal(err)
		}
	}
	result.Store = result.compressing
	if err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		return result.ReadinessCheck() == nil, nil
	}); err != nil {
		t.Fatalf("records %s are not served: %v", resource, result.ReadinessCheck())
	}
	result.empty(t)
	return result
}

func createRecordKind(t *testing.T, cp *controlplane.ControlPlane, resource string, namespaced bool) {
	t.Helper()
	preserve := true
	scope := apiextensionsv1.ClusterScoped
	if namespaced {
		scope = apiextensionsv1.NamespaceScoped
	}
	definition := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: resource + "." + podRecords.Group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: podRecords.Group,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: resource, Singular: resource, Kind: resource, ListKind: resource + "List"},
			Scope: scope,
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: podRecords.Version, Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
					Type: "object", XPreserveUnknownFields: &preserve,
				}},
			}},
		},
	}
	definitions := apiextensionsclient.NewForConfigOrDie(cp.Config).ApiextensionsV1().CustomResourceDefinitions()
	if _, err := definitions.Create(t.Context(), definition, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatalf("record kind %s: %v", resource, err)
	}
}

// suiteStore fits the adapter to what the suite takes for granted about etcd.
type suiteStore struct {
	*Store
	compressing, plain *Store
}

// empty removes what earlier tests left behind.
func (s *suiteStore) empty(t *testing.T) {
	t.Helper()
	list, err := s.listRecords(t.Context(), location{key: "/pods/"}, listParams{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list.Items {
		at := location{namespace: r.Namespace, name: r.Annotations[nameAnnotation]}
		if err := s.request(http.MethodDelete, at).Name(r.Name).Do(t.Context()).Error(); err != nil {
			t.Fatal(err)
		}
	}
}

// UpdatePrefixTransformer stands for a change of the storage format: what is stored becomes stale.
func (s *suiteStore) UpdatePrefixTransformer(modifier storagetesting.PrefixTransformerModifier) func() {
	modifier(storagetesting.NewPrefixTransformer(nil, false))
	s.Store = s.plain
	return func() { s.Store = s.compressing }
}

// GuaranteedUpdate gives keys without namespace one, because records of a namespaced kind have a
// namespace, and takes the time to live away that some tests set in passing.
func (s *suiteStore) GuaranteedUpdate(ctx context.Context, key string, destination runtime.Object, ignoreNotFound bool,
	preconditions *storage.Preconditions, tryUpdate storage.UpdateFunc, suggestion runtime.Object) error {
	withoutTTL := func(obj runtime.Object, meta storage.ResponseMeta) (runtime.Object, *uint64, error) {
		updated, _, err := tryUpdate(obj, meta)
		return updated, nil, err
	}
	return s.Store.GuaranteedUpdate(ctx, s.withNamespace(key), destination, ignoreNotFound, preconditions, withoutTTL, suggestion)
}

func (s *suiteStore) Get(ctx context.Context, key string, opts storage.GetOptions, out runtime.Object) error {
	return s.Store.Get(ctx, s.withNamespace(key), opts, out)
}

func (s *suiteStore) withNamespace(key string) string {
	if name := strings.TrimPrefix(key, "/pods/"); s.config.Namespaced && !strings.Contains(name, "/") {
		return "/pods/test-ns/" + name
	}
	return key
}

// Delete adds the version of the deletion, which the suite compares with events.
func (s *suiteStore) Delete(ctx context.Context, key string, out runtime.Object, preconditions *storage.Preconditions,
	validate storage.ValidateObjectFunc, suggestion runtime.Object, opts storage.DeleteOptions) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	version, err := s.GetCurrentResourceVersion(ctx)
	if err != nil {
		return err
	}
	key = s.withNamespace(key)
	at, err := s.object(key)
	if err != nil {
		return err
	}
	if err := s.Store.Delete(ctx, key, out, preconditions, validate, suggestion, opts); err != nil {
		return err
	}
	events := &watcher{
		store: s.Store, at: at, version: version, opts: storage.ListOptions{Predicate: storage.Everything},
		ctx: ctx, cancel: cancel, result: make(chan watch.Event, 1), matching: newMatching(storage.Everything),
	}
	go events.run()
	for event := range events.result {
		if event.Type == watch.Deleted {
			copyVersion(event.Object, out)
			return nil
		}
	}
	return nil
}

// stored checks that the record is what the format promises.
func (s *suiteStore) stored(ctx context.Context, t *testing.T, key string) {
	t.Helper()
	at, err := s.object(key)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.doRecord(ctx, "get", at, s.request(http.MethodGet, at).Name(recordName(at.name)))
	if err != nil {
		t.Fatalf("record of %s: %v", key, err)
	}
	obj, err := s.decode(r, &example.Pod{})
	if err != nil {
		t.Fatal(err)
	}
	if pod, ok := obj.(*example.Pod); !ok || pod.Name != at.name || r.Annotations[nameAnnotation] != at.name {
		t.Errorf("record of %s holds %#v", key, obj)
	}
}

var _ storagetesting.InterfaceWithPrefixTransformer = (*suiteStore)(nil)
var _ value.Transformer = (*storagetesting.PrefixTransformer)(nil)

// Behaviour 57.
func TestConformance(t *testing.T) {
	ignoreCalls := func(*testing.T, uint64, uint64) {}
	// Any write to the cluster moves the resource version.
	increase := func(ctx context.Context, t *testing.T, s *suiteStore) int64 {
		t.Helper()
		at, _ := s.object("/pods/other-ns/increase")
		pod := &example.Pod{ObjectMeta: metav1.ObjectMeta{Name: "increase", Namespace: "other-ns"}}
		out := &example.Pod{}
		if err := s.Store.Create(ctx, at.key, pod, out, 0); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(ctx, at.key, out, nil, storage.ValidateAllObjectFunc, nil, storage.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		version, err := s.Versioner().ObjectResourceVersion(out)
		if err != nil {
			t.Fatal(err)
		}
		return int64(version)
	}
	cases := map[string]func(context.Context, *testing.T, *suiteStore){
		"Create": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestCreate(ctx, t, s, s.stored)
		},
		"CreateWithKeyExist": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestCreateWithKeyExist(ctx, t, s)
		},
		"Get": func(ctx context.Context, t *testing.T, s *suiteStore) { storagetesting.RunTestGet(ctx, t, s) },
		"UnconditionalDelete": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestUnconditionalDelete(ctx, t, s)
		},
		"ConditionalDelete": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestConditionalDelete(ctx, t, s)
		},
		"DeleteWithSuggestion": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestDeleteWithSuggestion(ctx, t, s)
		},
		"DeleteSuggestionConflict": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestDeleteWithSuggestionAndConflict(ctx, t, s)
		},
		"DeleteConflict": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestDeleteWithConflict(ctx, t, s)
		},
		"DeleteSuggestionGone": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestDeleteWithSuggestionOfDeletedObject(ctx, t, s)
		},
		"ValidateDeletion": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestValidateDeletionWithSuggestion(ctx, t, s)
		},
		"ValidateDeletionOnly": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestValidateDeletionWithOnlySuggestionValid(ctx, t, s)
		},
		"PreconditionalDelete": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestPreconditionalDeleteWithSuggestion(ctx, t, s)
		},
		"PreconditionalDeletePass": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestPreconditionalDeleteWithOnlySuggestionPass(ctx, t, s)
		},
		"ListPaging": func(ctx context.Context, t *testing.T, s *suiteStore) { storagetesting.RunTestListPaging(ctx, t, s) },
		"ListContinuation": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestListContinuation(ctx, t, s, ignoreCalls)
		},
		"ListContinuationFilter": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestListContinuationWithFilter(ctx, t, s, ignoreCalls)
		},
		"ListNonRecursive": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestGetListNonRecursive(ctx, t, func(ctx context.Context, t *testing.T) int64 { return increase(ctx, t, s) }, s)
		},
		"ListRecursivePrefix": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestGetListRecursivePrefix(ctx, t, s)
		},
		"NamespaceScopedList": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestNamespaceScopedList(ctx, t, s)
		},
		"GuaranteedUpdate": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestGuaranteedUpdate(ctx, t, s, s.stored)
		},
		"UpdateChecksStoredData": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestGuaranteedUpdateChecksStoredData(ctx, t, s)
		},
		"UpdateConflict": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestGuaranteedUpdateWithConflict(ctx, t, s)
		},
		"UpdateSuggestionConflict": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestGuaranteedUpdateWithSuggestionAndConflict(ctx, t, s)
		},
		"Watch": func(ctx context.Context, t *testing.T, s *suiteStore) { storagetesting.RunTestWatch(ctx, t, s) },
		"WatchFromNonZero": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestWatchFromNonZero(ctx, t, s)
		},
		"DeleteTriggerWatch": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestDeleteTriggerWatch(ctx, t, s)
		},
		"DelayedWatchDelivery": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestDelayedWatchDelivery(ctx, t, s)
		},
		"WatchContextCancel": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestWatchContextCancel(ctx, t, s)
		},
		"WatchDeleteLatestVersion": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestWatchDeleteEventObjectHaveLatestRV(ctx, t, s)
		},
		"WatchInitialization": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestWatchInitializationSignal(ctx, t, s)
		},
		"NamespaceScopedWatch": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestNamespaceScopedWatch(ctx, t, s)
		},
		"WatcherTimeout": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestWatcherTimeout(ctx, t, s)
		},
		"WatchBookmarks": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestWatchDispatchBookmarkEvents(ctx, t, s, false)
		},
	}
	for name, run := range cases {
		t.Run(name, func(t *testing.T) { run(t.Context(), t, newPodStore(t, true)) })
	}
	clusterScoped := map[string]func(context.Context, *testing.T, *suiteStore){
		"ClusterScopedWatch": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestClusterScopedWatch(ctx, t, s)
		},
		"Stats": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestStats(ctx, t, s, s.config.Codec, identity.NewEncryptCheckTransformer(), false)
		},
		"ListPaginationRareObject": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestListPaginationRareObject(ctx, t, s, nil)
		},
		"ListVersionMatch": func(ctx context.Context, t *testing.T, s *suiteStore) {
			storagetesting.RunTestListResourceVersionMatch(ctx, t, s)
		},
	}
	for name, run := range clusterScoped {
		t.Run(name, func(t *testing.T) { run(t.Context(), t, newPodStore(t, false)) })
	}
}

// The same over kube-apiserver's watch cache; the suite's own test of this needs one without.
func TestWatchFromZeroStartsWithWhatExists(t *testing.T) {
	s := newPodStore(t, true)
	const key = "/pods/test-ns/foo"
	if err := s.Create(t.Context(), key, &example.Pod{ObjectMeta: metav1.ObjectMeta{Name: "foo", Namespace: "test-ns"}}, nil, 0); err != nil {
		t.Fatal(err)
	}
	events, err := s.Watch(t.Context(), "/pods", storage.ListOptions{ResourceVersion: "0", Predicate: storage.Everything, Recursive: true})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	if event := <-events.ResultChan(); event.Type != watch.Added {
		t.Errorf("first event %s, want ADDED", event.Type)
	}
	if err := s.Store.Delete(t.Context(), key, &example.Pod{}, nil, storage.ValidateAllObjectFunc, nil, storage.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if event := <-events.ResultChan(); event.Type != watch.Deleted {
		t.Errorf("second event %s, want DELETED", event.Type)
	}
}
