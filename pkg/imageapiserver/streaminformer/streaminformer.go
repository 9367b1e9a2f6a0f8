// Package streaminformer keeps the image streams of the cluster in memory for the parts of the image API
// server that look at all of them: controllers, quota, and the resolution of short image names.
//
// In: the store of streams. Out: a shared informer over it, without a detour through HTTP. Its objects are
// internal *imageapi.ImageStream with current repository strings; they are shared and must not be changed.
//
// Every replica has one, whether it leads or not. Nothing is written.
package streaminformer

import (
	"context"
	"time"

	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/tools/cache"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// watchTimeout ends a watch that a broken connection may have silenced.
const watchTimeout = 30 * time.Minute

// Streams is the store of streams.
type Streams interface {
	List(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object, error)
	Watch(ctx context.Context, options *metainternalversion.ListOptions) (watch.Interface, error)
}

// New makes the informer, with an index by namespace. It reads nothing before it is run.
func New(streams Streams) cache.SharedIndexInformer {
	all := func(ctx context.Context) context.Context { return request.WithNamespace(ctx, metav1.NamespaceAll) }
	return cache.NewSharedIndexInformer(listThenWatch{&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return streams.List(all(ctx), internal(options))
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			seconds := int64(watchTimeout / time.Second)
			options.TimeoutSeconds = &seconds
			ctx, cancel := context.WithTimeout(all(ctx), watchTimeout)
			events, err := streams.Watch(ctx, internal(options))
			if err != nil {
				cancel()
				return nil, err
			}
			return cancelled{events, cancel}, nil
		},
	}}, &imageapi.ImageStream{}, 0, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
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
