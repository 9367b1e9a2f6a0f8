// Package memstorage is a storage.Interface in memory, for tests of the image
// API group without etcd and without kube-apiserver.
//
// In: objects, encoded with the codec of the group as a real store would do,
// so that tests see conversion and defaulting. Out: copies with rising
// resource versions, lists with selectors, and watch events of what happens
// after the watch began.
//
// It is not for production: it has no history, no pagination and no limits.
// Writes can be counted and, to force a retry, delayed by a hook.
package memstorage

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sort"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	"k8s.io/client-go/tools/cache"
)

// Backend keeps the objects of all resources.
type Backend struct {
	codec runtime.Codec

	mutex    sync.Mutex
	version  uint64
	writes   int
	objects  map[string]item
	watchers map[*watcher]bool
	// BeforeWrite is called, without any lock, before each attempt to store
	// the result of an update.
	BeforeWrite func(key string)
	// BeforeStep is called, without any lock, before each atomic step of an
	// operation: "get", "list", "create", "delete", and of an update "read" and
	// "write".
	BeforeStep func(ctx context.Context, step, key string)
}

type item struct {
	data    []byte
	version uint64
}

// New keeps objects encoded by codec.
func New(codec runtime.Codec) *Backend {
	return &Backend{codec: codec, objects: map[string]item{}, watchers: map[*watcher]bool{}}
}

// Writes is how many writes changed anything.
func (b *Backend) Writes() int {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.writes
}

// Clear forgets all objects, as if nothing had ever been stored.
func (b *Backend) Clear() {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.objects = map[string]item{}
}

// GetRESTOptions implements generic.RESTOptionsGetter.
func (b *Backend) GetRESTOptions(resource schema.GroupResource, _ runtime.Object) (generic.RESTOptions, error) {
	config := storagebackend.NewDefaultConfig("/"+resource.Group, b.codec)
	return generic.RESTOptions{
		StorageConfig:           config.ForResource(resource),
		Decorator:               b.decorate,
		DeleteCollectionWorkers: 1,
		EnableGarbageCollection: true,
		ResourcePrefix:          resource.Resource,
	}, nil
}

func (b *Backend) decorate(_ *storagebackend.ConfigForResource, _ string, _ func(runtime.Object) (string, error),
	_, _ func() runtime.Object, _ storage.AttrFunc, _ storage.IndexerFuncs, _ *cache.Indexers,
) (storage.Interface, factory.DestroyFunc, error) {
	return &store{backend: b}, func() {}, nil
}

type store struct {
	backend *Backend
}

var (
	_ storage.Interface         = &store{}
	_ generic.RESTOptionsGetter = &Backend{}
)

// Versioner implements storage.Interface.
func (*store) Versioner() storage.Versioner { return storage.APIObjectVersioner{} }

// Create implements storage.Interface.
func (s *store) Create(ctx context.Context, key string, obj, out runtime.Object, _ uint64) error {
	b := s.backend
	b.step(ctx, "create", key)
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if _, found := b.objects[key]; found {
		return storage.NewKeyExistsError(key, 0)
	}
	stored, err := b.put(key, obj, watch.Added)
	if err != nil || out == nil {
		return err
	}
	return b.decode(stored, out)
}

// Delete implements storage.Interface.
func (s *store) Delete(ctx context.Context, key string, out runtime.Object, preconditions *storage.Preconditions, validate storage.ValidateObjectFunc, _ runtime.Object, _ storage.DeleteOptions) error {
	b := s.backend
	b.step(ctx, "delete", key)
	b.mutex.Lock()
	defer b.mutex.Unlock()
	stored, found := b.objects[key]
	if !found {
		return storage.NewKeyNotFoundError(key, 0)
	}
	if err := b.decode(stored, out); err != nil {
		return err
	}
	if preconditions != nil {
		if err := preconditions.Check(key, out); err != nil {
			return err
		}
	}
	if validate != nil {
		if err := validate(ctx, out); err != nil {
			return err
		}
	}
	delete(b.objects, key)
	b.version++
	b.writes++
	b.send(key, watch.Deleted, item{data: stored.data, version: b.version})
	return nil
}

// Get implements storage.Interface.
func (s *store) Get(ctx context.Context, key string, options storage.GetOptions, out runtime.Object) error {
	b := s.backend
	b.step(ctx, "get", key)
	b.mutex.Lock()
	defer b.mutex.Unlock()
	stored, found := b.objects[key]
	if !found {
		if options.IgnoreNotFound {
			return runtime.SetZeroValue(out)
		}
		return storage.NewKeyNotFoundError(key, 0)
	}
	return b.decode(stored, out)
}

// GetList implements storage.Interface.
func (s *store) GetList(ctx context.Context, key string, options storage.ListOptions, list runtime.Object) error {
	b := s.backend
	b.step(ctx, "list", key)
	b.mutex.Lock()
	defer b.mutex.Unlock()
	itemsPointer, err := meta.GetItemsPtr(list)
	if err != nil {
		return fmt.Errorf("list %T: %w", list, err)
	}
	items := reflect.ValueOf(itemsPointer).Elem()
	items.Set(reflect.MakeSlice(items.Type(), 0, 0))
	for _, name := range b.keys(key, options.Recursive) {
		obj := reflect.New(items.Type().Elem()).Interface().(runtime.Object)
		if err := b.decode(b.objects[name], obj); err != nil {
			return err
		}
		matches, err := options.Predicate.Matches(obj)
		if err != nil {
			return err
		}
		if matches {
			items.Set(reflect.Append(items, reflect.ValueOf(obj).Elem()))
		}
	}
	return storage.APIObjectVersioner{}.UpdateList(list, b.version, "", nil)
}

// GuaranteedUpdate implements storage.Interface.
func (s *store) GuaranteedUpdate(ctx context.Context, key string, out runtime.Object, ignoreNotFound bool, preconditions *storage.Preconditions, try storage.UpdateFunc, _ runtime.Object) error {
	b := s.backend
	for ctx.Err() == nil {
		b.step(ctx, "read", key)
		b.mutex.Lock()
		before, found := b.objects[key]
		b.mutex.Unlock()
		if !found && !ignoreNotFound {
			return storage.NewKeyNotFoundError(key, 0)
		}
		current := reflect.New(reflect.TypeOf(out).Elem()).Interface().(runtime.Object)
		if found {
			if err := b.decode(before, current); err != nil {
				return err
			}
		}
		if preconditions != nil {
			if err := preconditions.Check(key, current); err != nil {
				return err
			}
		}
		next, _, err := try(current, storage.ResponseMeta{ResourceVersion: before.version})
		if err != nil {
			return err
		}
		b.step(ctx, "write", key)
		if b.BeforeWrite != nil {
			b.BeforeWrite(key)
		}
		done, err := b.swap(key, before, found, next, out)
		if done || err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (b *Backend) step(ctx context.Context, step, key string) {
	if b.BeforeStep != nil {
		b.BeforeStep(ctx, step, key)
	}
}

// swap stores next if the object is still as it was before.
func (b *Backend) swap(key string, before item, existed bool, next, out runtime.Object) (bool, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	current, found := b.objects[key]
	if found != existed || current.version != before.version {
		return false, nil
	}
	event := watch.Added
	if found {
		event = watch.Modified
		data, err := b.encode(next)
		if err != nil {
			return false, err
		}
		if string(data) == string(before.data) {
			return true, b.decode(before, out)
		}
	}
	stored, err := b.put(key, next, event)
	if err != nil {
		return false, err
	}
	return true, b.decode(stored, out)
}

func (b *Backend) put(key string, obj runtime.Object, event watch.EventType) (item, error) {
	data, err := b.encode(obj)
	if err != nil {
		return item{}, err
	}
	b.version++
	b.writes++
	stored := item{data: data, version: b.version}
	b.objects[key] = stored
	b.send(key, event, stored)
	return stored, nil
}

func (b *Backend) encode(obj runtime.Object) ([]byte, error) {
	obj = obj.DeepCopyObject()
	if err := (storage.APIObjectVersioner{}).PrepareObjectForStorage(obj); err != nil {
		return nil, err
	}
	return runtime.Encode(b.codec, obj)
}

func (b *Backend) decode(stored item, out runtime.Object) error {
	if err := runtime.SetZeroValue(out); err != nil {
		return err
	}
	if _, _, err := b.codec.Decode(stored.data, nil, out); err != nil {
		return err
	}
	return storage.APIObjectVersioner{}.UpdateObject(out, stored.version)
}

func (b *Backend) keys(key string, recursive bool) []string {
	var keys []string
	for name := range b.objects {
		if name == key || recursive && strings.HasPrefix(name, strings.TrimSuffix(key, "/")+"/") {
			keys = append(keys, name)
		}
	}
	sort.Strings(keys)
	return keys
}

// Stats implements storage.Interface.
func (s *store) Stats(context.Context) (storage.Stats, error) {
	s.backend.mutex.Lock()
	defer s.backend.mutex.Unlock()
	return storage.Stats{ObjectCount: int64(len(s.backend.objects))}, nil
}

// ReadinessCheck implements storage.Interface.
func (*store) ReadinessCheck() error { return nil }

// RequestWatchProgress implements storage.Interface.
func (*store) RequestWatchProgress(context.Context) error {
	return errors.New("watch progress is not supported in memory")
}

// GetCurrentResourceVersion implements storage.Interface.
func (s *store) GetCurrentResourceVersion(context.Context) (uint64, error) {
	s.backend.mutex.Lock()
	defer s.backend.mutex.Unlock()
	return s.backend.version, nil
}

// EnableResourceSizeEstimation implements storage.Interface.
func (*store) EnableResourceSizeEstimation(storage.KeysFunc) error { return nil }

// CompactRevision implements storage.Interface.
func (*store) CompactRevision() int64 { return 0 }
