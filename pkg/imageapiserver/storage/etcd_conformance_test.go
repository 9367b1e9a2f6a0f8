//go:build component

package storage_test

import (
	"context"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/api/apitesting"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apiserver/pkg/apis/example"
	examplev1 "k8s.io/apiserver/pkg/apis/example/v1"
	apistorage "k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
	"k8s.io/apiserver/pkg/storage/value"

	"image.alauda.io/registry/pkg/imageapiserver/storage/compress"
)

// etcdStore is the etcd backend with compressed values, for the suite's Pods.
type etcdStore struct {
	apistorage.Interface
	codec runtime.Codec
	// inner stands where encryption is in production.
	inner  *switchable
	client *clientv3.Client
	prefix string
}

// switchable is a transformer that a test changes in the middle.
type switchable struct{ value.Transformer }

func newEtcdStore(t *testing.T, compressing bool) *etcdStore {
	t.Helper()
	cp := shared.Get(t)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{cp.EtcdEndpoint}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, metav1.SchemeGroupVersion)
	utilruntime.Must(example.AddToScheme(scheme))
	utilruntime.Must(examplev1.AddToScheme(scheme))
	compressor, err := compress.New(compressing)
	if err != nil {
		t.Fatal(err)
	}
	s := &etcdStore{
		codec: apitesting.TestCodec(serializer.NewCodecFactory(scheme), examplev1.SchemeGroupVersion),
		inner: &switchable{storagetesting.NewPrefixTransformer([]byte("inner"), false)}, client: client, prefix: "/test/" + t.Name(),
	}
	config := storagebackend.NewDefaultConfig(s.prefix, s.codec).ForResource(schema.GroupResource{Resource: "pods"})
	config.Transport.ServerList = []string{cp.EtcdEndpoint}
	config.CompactionInterval = 0
	config.Transformer = compressor.Transformer(s.inner)
	store, destroy, err := factory.Create(*config, func() runtime.Object { return &example.Pod{} }, func() runtime.Object { return &example.PodList{} }, "/pods")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(destroy)
	s.Interface = store
	return s
}

// UpdatePrefixTransformer implements storagetesting.InterfaceWithPrefixTransformer.
func (s *etcdStore) UpdatePrefixTransformer(modifier storagetesting.PrefixTransformerModifier) func() {
	original := s.inner.Transformer
	changed := *original.(*storagetesting.PrefixTransformer)
	s.inner.Transformer = modifier(&changed)
	return func() { s.inner.Transformer = original }
}

// compressed checks that the value of a key went through both transformers.
func (s *etcdStore) compressed(ctx context.Context, t *testing.T, key string) {
	t.Helper()
	answer, err := s.client.Get(ctx, s.prefix+key)
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Kvs) != 1 || !strings.HasPrefix(string(answer.Kvs[0].Value), "inner\x01") {
		t.Errorf("etcd holds %v under %s, want one compressed value", answer.Kvs, key)
	}
}

func (s *etcdStore) increase(ctx context.Context, t *testing.T) int64 {
	t.Helper()
	written, err := s.client.Put(ctx, "/test/increase", "")
	if err != nil {
		t.Fatal(err)
	}
	return written.Header.Revision
}

// compact costs one revision, as the library's own compaction does.
func (s *etcdStore) compact(ctx context.Context, t *testing.T, resourceVersion string) {
	t.Helper()
	revision, err := apistorage.APIObjectVersioner{}.ParseResourceVersion(resourceVersion)
	if err != nil {
		t.Fatal(err)
	}
	s.increase(ctx, t)
	if _, err := s.client.Compact(ctx, int64(revision)); err != nil {
		t.Fatal(err)
	}
}

// Behaviour 57, the backend etcd. The library's suite proves that the compression of values fits in.
// Left out: what the library builds around the store by default (TransformationFailure and the tests of
// damaged objects expect the bare one), compaction and keys of its own, and progress notifications,
// which need an etcd that sends them every second.
func TestEtcdConformance(t *testing.T) {
	ignoreCalls := func(*testing.T, uint64, uint64) {}
	plain := map[string]func(context.Context, *testing.T, apistorage.Interface){
		"CreateWithTTL": storagetesting.RunTestCreateWithTTL, "CreateWithKeyExist": storagetesting.RunTestCreateWithKeyExist,
		"Get": storagetesting.RunTestGet, "UnconditionalDelete": storagetesting.RunTestUnconditionalDelete,
		"ConditionalDelete": storagetesting.RunTestConditionalDelete, "DeleteWithSuggestion": storagetesting.RunTestDeleteWithSuggestion,
		"DeleteWithConflict": storagetesting.RunTestDeleteWithConflict, "ListPaging": storagetesting.RunTestListPaging,
		"DeleteSuggestionConflict": storagetesting.RunTestDeleteWithSuggestionAndConflict,
		"DeleteSuggestionGone":     storagetesting.RunTestDeleteWithSuggestionOfDeletedObject,
		"ValidateDeletion":         storagetesting.RunTestValidateDeletionWithSuggestion,
		"ValidateDeletionOnly":     storagetesting.RunTestValidateDeletionWithOnlySuggestionValid,
		"PreconditionalDelete":     storagetesting.RunTestPreconditionalDeleteWithSuggestion,
		"PreconditionalDeletePass": storagetesting.RunTestPreconditionalDeleteWithOnlySuggestionPass,
		"ListRecursivePrefix":      storagetesting.RunTestGetListRecursivePrefix, "NamespaceScopedList": storagetesting.RunTestNamespaceScopedList,
		"UpdateWithTTL": storagetesting.RunTestGuaranteedUpdateWithTTL, "UpdateConflict": storagetesting.RunTestGuaranteedUpdateWithConflict,
		"UpdateSuggestionConflict": storagetesting.RunTestGuaranteedUpdateWithSuggestionAndConflict,
		"Watch":                    storagetesting.RunTestWatch, "WatchFromNonZero": storagetesting.RunTestWatchFromNonZero,
		"DeleteTriggerWatch": storagetesting.RunTestDeleteTriggerWatch, "DelayedWatchDelivery": storagetesting.RunTestDelayedWatchDelivery,
		"WatchContextCancel": storagetesting.RunTestWatchContextCancel, "WatcherTimeout": storagetesting.RunTestWatcherTimeout,
		"WatchDeleteLatestVersion": storagetesting.RunTestWatchDeleteEventObjectHaveLatestRV,
		"WatchInitialization":      storagetesting.RunTestWatchInitializationSignal,
		"ClusterScopedWatch":       storagetesting.RunTestClusterScopedWatch, "NamespaceScopedWatch": storagetesting.RunTestNamespaceScopedWatch,
	}
	cases := map[string]func(context.Context, *testing.T, *etcdStore){
		"Create": func(ctx context.Context, t *testing.T, s *etcdStore) {
			storagetesting.RunTestCreate(ctx, t, s, s.compressed)
		},
		"GuaranteedUpdate": func(ctx context.Context, t *testing.T, s *etcdStore) {
			storagetesting.RunTestGuaranteedUpdate(ctx, t, s, s.compressed)
		},
		"WatchError": func(ctx context.Context, t *testing.T, s *etcdStore) { storagetesting.RunTestWatchError(ctx, t, s) },
		"List": func(ctx context.Context, t *testing.T, s *etcdStore) {
			storagetesting.RunTestList(ctx, t, s, s.compact, false, nil)
		},
		"ListNonRecursive": func(ctx context.Context, t *testing.T, s *etcdStore) {
			storagetesting.RunTestGetListNonRecursive(ctx, t, s.increase, s)
		},
		"ListContinuation": func(ctx context.Context, t *testing.T, s *etcdStore) {
			storagetesting.RunTestListContinuation(ctx, t, s, ignoreCalls)
		},
		"ListContinuationFilter": func(ctx context.Context, t *testing.T, s *etcdStore) {
			storagetesting.RunTestListContinuationWithFilter(ctx, t, s, ignoreCalls)
		},
		"ListPaginationRareObject": func(ctx context.Context, t *testing.T, s *etcdStore) {
			storagetesting.RunTestListPaginationRareObject(ctx, t, s, ignoreCalls)
		},
		"ListInconsistentContinuation": func(ctx context.Context, t *testing.T, s *etcdStore) {
			storagetesting.RunTestListInconsistentContinuation(ctx, t, s, s.compact)
		},
		"ListVersionMatch": func(ctx context.Context, t *testing.T, s *etcdStore) {
			storagetesting.RunTestListResourceVersionMatch(ctx, t, s)
		},
		"WatchFromZero": func(ctx context.Context, t *testing.T, s *etcdStore) {
			storagetesting.RunTestWatchFromZero(ctx, t, s, s.compact)
		},
		"WatchBookmarks": func(ctx context.Context, t *testing.T, s *etcdStore) {
			storagetesting.RunTestWatchDispatchBookmarkEvents(ctx, t, s, false)
		},
	}
	for name, run := range plain {
		t.Run(name, func(t *testing.T) { run(t.Context(), t, newEtcdStore(t, true)) })
	}
	for name, run := range cases {
		t.Run(name, func(t *testing.T) { run(t.Context(), t, newEtcdStore(t, true)) })
	}
	// This puts bytes between the inner transformer and the object, which JSON forgives and compressed
	// data does not.
	uncompressed := map[string]func(context.Context, *testing.T, *etcdStore){
		"UpdateChecksStoredData": func(ctx context.Context, t *testing.T, s *etcdStore) {
			storagetesting.RunTestGuaranteedUpdateChecksStoredData(ctx, t, s)
		},
	}
	for name, run := range uncompressed {
		t.Run(name, func(t *testing.T) { run(t.Context(), t, newEtcdStore(t, false)) })
	}
}
