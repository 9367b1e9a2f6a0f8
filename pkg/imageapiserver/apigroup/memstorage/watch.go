package memstorage

import (
	"context"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/storage"
)

// watchBuffer is how many events a test may leave unread.
const watchBuffer = 100

type watcher struct {
	*watch.FakeWatcher
	key       string
	recursive bool
	predicate storage.SelectionPredicate
}

// Watch implements storage.Interface: it sends what happens from now on.
func (s *store) Watch(ctx context.Context, key string, options storage.ListOptions) (watch.Interface, error) {
	b := s.backend
	w := &watcher{FakeWatcher: watch.NewFakeWithChanSize(watchBuffer, false), key: key, recursive: options.Recursive, predicate: options.Predicate}
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.watchers[w] = true
	context.AfterFunc(ctx, func() {
		b.mutex.Lock()
		defer b.mutex.Unlock()
		delete(b.watchers, w)
		w.Stop()
	})
	return w, nil
}

// send hands one change to the watchers of the key. All of them get the same
// object, as from a real watch cache, so a receiver that changes it is found.
func (b *Backend) send(key string, event watch.EventType, stored item) {
	var shared runtime.Object
	for w := range b.watchers {
		if key != w.key && !(w.recursive && strings.HasPrefix(key, strings.TrimSuffix(w.key, "/")+"/")) {
			continue
		}
		if shared == nil {
			obj, _, err := b.codec.Decode(stored.data, nil, nil)
			if err != nil {
				continue
			}
			if accessor, err := meta.Accessor(obj); err == nil {
				accessor.SetResourceVersion("")
			}
			if err := (storage.APIObjectVersioner{}).UpdateObject(obj, stored.version); err != nil {
				continue
			}
			shared = obj
		}
		if matches, err := w.predicate.Matches(shared); err == nil && matches {
			w.Action(event, shared)
		}
	}
}
