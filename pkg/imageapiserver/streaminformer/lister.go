package streaminformer

import (
	"k8s.io/client-go/tools/cache"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// Lister reads the streams that an informer holds. What it returns must not be changed.
type Lister struct {
	indexer cache.Indexer
}

// NewLister reads from the store of an informer.
func NewLister(informer cache.SharedIndexInformer) Lister {
	return Lister{informer.GetIndexer()}
}

// Get returns a stream, or false when there is none.
func (l Lister) Get(namespace, name string) (*imageapi.ImageStream, bool) {
	obj, found, err := l.indexer.GetByKey(namespace + "/" + name)
	if err != nil || !found {
		return nil, false
	}
	stream, ok := obj.(*imageapi.ImageStream)
	return stream, ok
}

// Namespace returns the streams of one namespace.
func (l Lister) Namespace(namespace string) []*imageapi.ImageStream {
	objs, err := l.indexer.ByIndex(cache.NamespaceIndex, namespace)
	if err != nil {
		return nil // Only an index that does not exist is an error, and New makes it.
	}
	return typed(objs)
}

// All returns all streams.
func (l Lister) All() []*imageapi.ImageStream { return typed(l.indexer.List()) }

func typed(objs []any) []*imageapi.ImageStream {
	streams := make([]*imageapi.ImageStream, 0, len(objs))
	for _, obj := range objs {
		if stream, ok := obj.(*imageapi.ImageStream); ok {
			streams = append(streams, stream)
		}
	}
	return streams
}
