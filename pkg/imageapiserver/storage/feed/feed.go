// Package feed lets the reflectors and informers of client-go read a store of this server without a detour
// through HTTP.
//
// In: a store, and for those who need little of each object a function that reduces it. Out: lists by pages and
// watches of all namespaces, with the objects as stored (New) or reduced (Run, which also runs the reflector).
// Reduced at once, the objects of one page only are in memory as a whole.
//
// A watch ends after half an hour, because a broken connection may have silenced it, and releases its context
// when it is stopped. Nothing is written, and nothing is kept here.
package feed

import (
	"context"
	"time"

	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/tools/cache"
)

// watchTimeout ends a watch that a broken connection may have silenced.
const watchTimeout = 30 * time.Minute

// Store is what is read.
type Store interface {
	List(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object, error)
	Watch(ctx context.Context, options *metainternalversion.ListOptions) (watch.Interface, error)
}

// New reads all objects of a store.
func New(store Store) cache.ListerWatcher {
	return listThenWatch{&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return store.List(everywhere(ctx), internal(options))
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			seconds := int64(watchTimeout / time.Second)
			options.TimeoutSeconds, options.AllowWatchBookmarks = &seconds, true
			ctx, cancel := context.WithTimeout(everywhere(ctx), watchTimeout)
			events, err := store.Watch(ctx, internal(options))
			if err != nil {
				cancel()
				return nil, err
			}
			return cancelled{events, cancel}, nil
		},
	}}
}

// everywhere asks for the objects of all namespaces, or of none where they have no namespace.
func everywhere(ctx context.Context) context.Context {
	return request.WithNamespace(ctx, metav1.NamespaceAll)
}

func internal(options metav1.ListOptions) *metainternalversion.ListOptions {
	return &metainternalversion.ListOptions{
		Limit: options.Limit, Continue: options.Continue,
		ResourceVersion: options.ResourceVersion, ResourceVersionMatch: options.ResourceVersionMatch,
		AllowWatchBookmarks: options.AllowWatchBookmarks, TimeoutSeconds: options.TimeoutSeconds,
	}
}

// listThenWatch tells reflectors that the store does not send its state through a watch.
type listThenWatch struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported is asked by client-go.
func (listThenWatch) IsWatchListSemanticsUnSupported() bool { return true }

// cancelled releases the context of a watch when it is stopped.
type cancelled struct {
	watch.Interface
	cancel context.CancelFunc
}

// Stop implements watch.Interface.
func (c cancelled) Stop() {
	c.cancel()
	c.Interface.Stop()
}
