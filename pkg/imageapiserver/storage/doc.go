// Package storage tells the stores of the API group where to keep their objects. It has one
// implementation of generic.RESTOptionsGetter for each backend: hidden custom resources, written
// through kube-apiserver, and etcd.
//
// In: the codec of the stored version, a compressor, and what the backend needs (a client
// configuration, or the library's etcd options). Out: options from which a registry store builds its
// storage. Image streams get a watch cache; images do not, because full copies of all of them would
// take more than a gigabyte on a large installation (the layer index keeps what is needed of them).
//
// The package opens no connection before a store is built, and knows nothing about strategies.
package storage

import (
	"k8s.io/apimachinery/pkg/runtime/schema"

	storagev1 "image.alauda.io/api/storage/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// Resource is a stored resource of the API group with the record kind that holds it.
type Resource struct {
	Resource   schema.GroupResource
	Records    schema.GroupVersionResource
	RecordKind string
	Namespaced bool
	WatchCache bool
}

// Resources lists everything that is stored.
func Resources() []Resource {
	return []Resource{{
		Resource:   imageapi.Resource("images"),
		Records:    storagev1.SchemeGroupVersion.WithResource("storedimages"),
		RecordKind: "StoredImage",
	}, {
		Resource:   imageapi.Resource("imagestreams"),
		Records:    storagev1.SchemeGroupVersion.WithResource("storedimagestreams"),
		RecordKind: "StoredImageStream",
		Namespaced: true,
		WatchCache: true,
	}}
}
