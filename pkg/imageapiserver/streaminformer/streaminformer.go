// Package streaminformer keeps the image streams of the cluster in memory for the parts of the image API
// server that look at all of them: controllers, quota, and the resolution of short image names.
//
// In: the store of streams. Out: a shared informer over it, without a detour through HTTP. Its objects are
// internal *imageapi.ImageStream with current repository strings; they are shared and must not be changed.
//
// Every replica has one, whether it leads or not. Nothing is written.
package streaminformer

import (
	"k8s.io/client-go/tools/cache"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/storage/feed"
)

// New makes the informer over the store of streams, with an index by namespace. It reads nothing before it is run.
func New(streams feed.Store) cache.SharedIndexInformer {
	return cache.NewSharedIndexInformer(feed.New(streams), &imageapi.ImageStream{}, 0, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
}
