package streams

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"image.alauda.io/registry/pkg/registry/route"

	"k8s.io/apimachinery/pkg/api/meta"
)

// createdAge is how long the catalog shows a stream that this process has created and
// that the watch has not shown.
const createdAge = 10 * time.Second

// known is what the watch shows: the version of every stream, their sorted names, and when
// the server was heard last. It is the store that client-go's reflector fills; of an
// object it keeps nothing but its version. Memory is about 250 bytes for each stream.
type known struct {
	now     func() time.Time
	silence time.Duration
	gone    func(route.Name)

	mu       sync.RWMutex
	synced   bool
	heard    time.Time
	versions map[route.Name]version
	names    sortedNames
	// created are streams of this process that the watch has not shown, by the time of
	// their creation. Their names are in the list.
	created map[route.Name]time.Time
}

func newKnown(now func() time.Time, silence time.Duration) *known {
	return &known{now: now, silence: silence, gone: func(route.Name) {}, versions: map[route.Name]version{}, created: map[route.Name]time.Time{}}
}

// healthy tells whether the watch is believed: everything was listed, and the server sent
// something not long ago.
func (k *known) healthy() bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.synced && k.now().Sub(k.heard) <= k.silence
}

// silent is for how long the server has said nothing.
func (k *known) silent() time.Duration {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.now().Sub(k.heard)
}

func (k *known) version(name route.Name) (version, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	v, found := k.versions[name]
	return v, found
}

// After implements Names.
func (k *known) After(after string, limit int) []string {
	k.expire()
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.names.After(after, limit)
}

// NamespacesAfter implements Names.
func (k *known) NamespacesAfter(after string, limit int) []string {
	k.expire()
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.names.NamespacesAfter(after, limit)
}

// create notes a stream of this process, so that the catalog has it at once.
func (k *known) create(name route.Name) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, found := k.versions[name]; found || !k.synced {
		return
	}
	k.created[name] = k.now()
	k.names = k.names.insert(name.String())
}

// expire forgets created streams that the watch never showed: they were deleted at once.
func (k *known) expire() {
	k.mu.RLock()
	waiting := len(k.created)
	k.mu.RUnlock()
	if waiting == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, since := range k.created {
		if k.now().Sub(since) >= createdAge {
			delete(k.created, name)
			k.names = k.names.remove(name.String())
		}
	}
}

// Add implements cache.ReflectorStore.
func (k *known) Add(obj any) error {
	name, v, err := identify(obj)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.heard = k.now()
	delete(k.created, name)
	before, found := k.versions[name]
	if !found {
		k.names = k.names.insert(name.String())
	}
	k.versions[name] = v
	if found && before.uid != v.uid {
		k.gone(name)
	}
	return nil
}

// Update implements cache.ReflectorStore.
func (k *known) Update(obj any) error { return k.Add(obj) }

// Delete implements cache.ReflectorStore.
func (k *known) Delete(obj any) error {
	name, _, err := identify(obj)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.heard = k.now()
	delete(k.created, name)
	delete(k.versions, name)
	k.names = k.names.remove(name.String())
	k.gone(name)
	return nil
}

// Replace implements cache.ReflectorStore: it takes a complete list.
func (k *known) Replace(list []any, _ string) error {
	versions := make(map[route.Name]version, len(list))
	names := make(sortedNames, 0, len(list))
	for _, obj := range list {
		name, v, err := identify(obj)
		if err != nil {
			return err
		}
		versions[name] = v
		names = append(names, name.String())
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for name := range k.created {
		if _, found := versions[name]; found {
			delete(k.created, name)
			continue
		}
		names = append(names, name.String())
	}
	slices.Sort(names)
	for name, before := range k.versions {
		if versions[name].uid != before.uid {
			k.gone(name)
		}
	}
	k.versions, k.names = versions, names
	k.synced, k.heard = true, k.now()
	return nil
}

// Bookmark implements cache.ReflectorBookmarkStore: the server has nothing new and says so.
func (k *known) Bookmark(string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.heard = k.now()
	return nil
}

// Resync implements cache.ReflectorStore.
func (k *known) Resync() error { return nil }

func identify(obj any) (route.Name, version, error) {
	object, err := meta.Accessor(obj)
	if err != nil {
		return route.Name{}, version{}, fmt.Errorf("watch of image streams: %w", err)
	}
	return nameOf(object.GetNamespace(), object.GetName()), version{string(object.GetUID()), object.GetResourceVersion()}, nil
}
