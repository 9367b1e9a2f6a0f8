package storage

import (
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/cacher"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	storagev1 "image.alauda.io/api/storage/v1"
	"image.alauda.io/registry/pkg/imageapiserver/storage/compress"
	"image.alauda.io/registry/pkg/imageapiserver/storage/crd"
)

// countInterval is how often objects are counted for metrics and for the cost of lists.
const countInterval = time.Minute

// CRDGetter builds stores over hidden custom resources.
type CRDGetter struct {
	client     rest.Interface
	codec      runtime.Codec
	compressor *compress.Compressor
	resources  map[schema.GroupResource]Resource

	mu     sync.Mutex
	stores []*crd.Store
}

// NewCRDGetter returns a getter for stores whose records are reached with the client configuration.
func NewCRDGetter(config *rest.Config, codec runtime.Codec, compressor *compress.Compressor) (*CRDGetter, error) {
	client, err := crd.NewClient(config, storagev1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	getter := &CRDGetter{client: client, codec: codec, compressor: compressor, resources: map[schema.GroupResource]Resource{}}
	for _, resource := range Resources() {
		getter.resources[resource.Resource] = resource
	}
	return getter, nil
}

// GetRESTOptions implements generic.RESTOptionsGetter.
func (g *CRDGetter) GetRESTOptions(resource schema.GroupResource, _ runtime.Object) (generic.RESTOptions, error) {
	known, ok := g.resources[resource]
	if !ok {
		return generic.RESTOptions{}, fmt.Errorf("%s is not a stored resource", resource)
	}
	return generic.RESTOptions{
		StorageConfig:           storagebackend.NewDefaultConfig("", g.codec).ForResource(resource),
		Decorator:               g.decorator(known),
		EnableGarbageCollection: true,
		DeleteCollectionWorkers: 4,
		ResourcePrefix:          resource.Group + "/" + resource.Resource,
		CountMetricPollPeriod:   countInterval,
	}, nil
}

// Ready tells whether every store that was built can be read.
func (g *CRDGetter) Ready() error {
	g.mu.Lock()
	stores := g.stores
	g.mu.Unlock()
	for _, store := range stores {
		if err := store.ReadinessCheck(); err != nil {
			return err
		}
	}
	return nil
}

func (g *CRDGetter) decorator(resource Resource) generic.StorageDecorator {
	return func(config *storagebackend.ConfigForResource, prefix string, keyFunc func(runtime.Object) (string, error),
		newFunc, newListFunc func() runtime.Object, attrs storage.AttrFunc,
		triggers storage.IndexerFuncs, indexers *cache.Indexers) (storage.Interface, factory.DestroyFunc, error) {
		store, err := crd.New(crd.Config{
			Client: g.client, Records: resource.Records, RecordKind: resource.RecordKind, Namespaced: resource.Namespaced,
			Codec: config.Codec, Compressor: g.compressor, ResourcePrefix: prefix, NewFunc: newFunc,
		})
		if err != nil {
			return nil, nil, err
		}
		g.mu.Lock()
		g.stores = append(g.stores, store)
		g.mu.Unlock()
		if !resource.WatchCache {
			return store, func() {}, nil
		}
		return withWatchCache(store, cacher.Config{
			Storage: store, Versioner: store.Versioner(), GroupResource: config.GroupResource,
			EventsHistoryWindow: config.EventsHistoryWindow, ResourcePrefix: prefix, KeyFunc: keyFunc,
			NewFunc: newFunc, NewListFunc: newListFunc, GetAttrsFunc: attrs,
			IndexerFuncs: triggers, Indexers: indexers, Codec: config.Codec,
		})
	}
}

func withWatchCache(store storage.Interface, config cacher.Config) (storage.Interface, factory.DestroyFunc, error) {
	watchCache, err := cacher.NewCacherFromConfig(config)
	if err != nil {
		return nil, nil, err
	}
	delegator := cacher.NewCacheDelegator(watchCache, store)
	return delegator, sync.OnceFunc(func() {
		delegator.Stop()
		watchCache.Stop()
	}), nil
}
