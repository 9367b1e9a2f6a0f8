package storage

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"

	"image.alauda.io/registry/pkg/imageapiserver/storage/compress"
)

// WatchCacheSizes returns the watch cache setting of the library's etcd options: a size of 0 switches
// the cache of a resource off.
func WatchCacheSizes() []string {
	var sizes []string
	for _, resource := range Resources() {
		if !resource.WatchCache {
			sizes = append(sizes, fmt.Sprintf("%s#0", resource.Resource))
		}
	}
	return sizes
}

// WithCompression returns a getter whose etcd values are compressed, before they are encrypted if the
// inner getter has encryption configured.
func WithCompression(inner generic.RESTOptionsGetter, compressor *compress.Compressor) generic.RESTOptionsGetter {
	return compressedEtcd{inner: inner, compressor: compressor}
}

type compressedEtcd struct {
	inner      generic.RESTOptionsGetter
	compressor *compress.Compressor
}

// GetRESTOptions implements generic.RESTOptionsGetter.
func (g compressedEtcd) GetRESTOptions(resource schema.GroupResource, example runtime.Object) (generic.RESTOptions, error) {
	options, err := g.inner.GetRESTOptions(resource, example)
	if err != nil {
		return options, err
	}
	config := *options.StorageConfig
	config.Transformer = g.compressor.Transformer(config.Transformer)
	options.StorageConfig = &config
	return options, nil
}
