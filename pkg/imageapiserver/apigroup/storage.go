package apigroup

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/utils/clock"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagesecret"
	"image.alauda.io/registry/pkg/imageapiserver/imagesignature"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/access"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/lastref"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/layers"
	"image.alauda.io/registry/pkg/imageapiserver/imagestreamimage"
	"image.alauda.io/registry/pkg/imageapiserver/imagestreamimport/apply"
	"image.alauda.io/registry/pkg/imageapiserver/imagestreammapping"
	"image.alauda.io/registry/pkg/imageapiserver/imagestreamtag"
	"image.alauda.io/registry/pkg/imageapiserver/imagetag"
)

// Group is the composed API group.
type Group struct {
	// Storage is the REST storage by resource or resource/subresource.
	Storage map[string]rest.Storage
	// Images and Streams are the stores, for controllers of this process.
	Images  *image.REST
	Streams *imagestream.REST
	// Layers answers imagestreams/layers.
	Layers *imagestream.LayersREST
	// Imports records what was imported, for requests and controllers.
	Imports *apply.Applier

	codecs *Codecs
}

// New builds the stores and the storage of all resources. It reads nothing
// from the stores yet.
func New(deps Deps, codecs *Codecs) (*Group, error) {
	if err := deps.Validate(); err != nil {
		return nil, err
	}
	if deps.Clock == nil {
		deps.Clock = clock.RealClock{}
	}
	if deps.MaxTagHistory == nil {
		deps.MaxTagHistory = func() int { return 0 }
	}
	reviewer := access.NewReviewer(deps.AccessReviews)

	size := sizer(codecs.Storage, deps.StoredSize)
	images, err := image.NewREST(image.Options{
		RESTOptions: deps.RESTOptions,
		Typer:       codecs.Scheme,
		Size:        func(image *imageapi.Image) (int, int, error) { return size(image) },
		Clock:       deps.Clock,
	})
	if err != nil {
		return nil, err
	}
	streams, err := imagestream.NewREST(imagestream.Options{
		RESTOptions:   deps.RESTOptions,
		Typer:         codecs.Scheme,
		Hosts:         deps.Hosts,
		Access:        reviewer,
		Stamper:       lastref.NewStamper(images, deps.Clock),
		Size:          func(stream *imageapi.ImageStream) (int, int, error) { return size(stream) },
		Quota:         deps.Quota,
		Allowed:       deps.AllowedRegistries,
		MaxTagHistory: deps.MaxTagHistory,
		Clock:         deps.Clock,
	})
	if err != nil {
		return nil, err
	}
	var index layers.Index = layers.NewStoreIndex(images)
	if deps.LayerIndex != nil {
		if index, err = deps.LayerIndex(images); err != nil {
			return nil, fmt.Errorf("layer index: %w", err)
		}
	}
	group := &Group{Images: images, Streams: streams, Layers: imagestream.NewLayersREST(streams, index), codecs: codecs}
	group.Storage = map[string]rest.Storage{
		"images":               images,
		"imagestreams":         streams,
		"imagestreams/status":  imagestream.NewStatusREST(streams),
		"imagestreams/layers":  group.Layers,
		"imagestreams/secrets": imagesecret.NewREST(deps.Secrets),
		"imagestreamtags":      imagestreamtag.NewREST(streams, images, codecs.Scheme, deps.Clock),
		"imagetags":            imagetag.NewREST(streams, images, codecs.Scheme, deps.Clock),
		"imagesignatures":      imagesignature.NewREST(images, codecs.Scheme),
		"imagestreamimages":    imagestreamimage.NewREST(streams, group.Layers, images, deps.Clock),
		"imagestreammappings": imagestreammapping.NewREST(imagestreammapping.Options{
			Streams: streams,
			Images:  images,
			Layers:  group.Layers,
			Access:  reviewer,
			Hosts:   deps.Hosts,
			Typer:   codecs.Scheme,
			Clock:   deps.Clock,
		}),
	}
	return group, group.addImports(deps, reviewer)
}

// Info is what a generic API server installs. It speaks JSON and YAML only.
func (g *Group) Info() *genericapiserver.APIGroupInfo {
	info := genericapiserver.NewDefaultAPIGroupInfo(imageapi.GroupName, g.codecs.Scheme, g.codecs.Parameters, g.codecs.Factory)
	info.NegotiatedSerializer = g.codecs.Negotiated
	info.VersionedResourcesStorageMap[groupVersion().Version] = g.Storage
	return &info
}

// sizer measures objects as JSON and as they will be stored.
func sizer(codec runtime.Codec, stored func([]byte) (int, error)) func(runtime.Object) (int, int, error) {
	return func(obj runtime.Object) (int, int, error) {
		encoded, err := runtime.Encode(codec, obj)
		if err != nil {
			return 0, 0, fmt.Errorf("encode: %w", err)
		}
		if stored == nil || len(encoded) <= imagestream.MaxStoredSize {
			return len(encoded), len(encoded), nil
		}
		size, err := stored(encoded)
		if err != nil {
			return 0, 0, fmt.Errorf("measure: %w", err)
		}
		return len(encoded), size, nil
	}
}
