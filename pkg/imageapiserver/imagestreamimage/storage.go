// Package imagestreamimage serves imagestreamimages: an image seen through a
// stream that contains it.
//
// In: a name "<stream>@<id>", where the id may be shortened. Out: the Image
// with that digest, if the stream's history names it or an index in the
// history does, without raw manifest and config.
//
// Nothing is stored under this resource, and there is nothing but get.
package imagestreamimage

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/utils/clock"

	"image.alauda.io/api/image/reference"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/table"
)

// Streams reads image streams of the namespace in ctx.
type Streams interface {
	Find(ctx context.Context, name string) (*imageapi.ImageStream, error)
}

// Layers tells what a stream contains.
type Layers interface {
	Layers(ctx context.Context, stream *imageapi.ImageStream) (*imageapi.ImageStreamLayers, error)
}

// Images reads Images.
type Images interface {
	Find(ctx context.Context, name string) (*imageapi.Image, error)
}

// REST serves imagestreamimages.
type REST struct {
	streams Streams
	layers  Layers
	images  Images
	*table.Convertor
}

var (
	_ rest.Getter               = &REST{}
	_ rest.Scoper               = &REST{}
	_ rest.ShortNamesProvider   = &REST{}
	_ rest.SingularNameProvider = &REST{}
	_ rest.TableConvertor       = &REST{}
)

// NewREST serves images of streams.
func NewREST(streams Streams, layers Layers, images Images, clock clock.PassiveClock) *REST {
	return &REST{streams: streams, layers: layers, images: images, Convertor: newTable(clock)}
}

// New implements rest.Storage.
func (*REST) New() runtime.Object { return &imageapi.ImageStreamImage{} }

// Destroy has nothing to release.
func (*REST) Destroy() {}

// NamespaceScoped is true.
func (*REST) NamespaceScoped() bool { return true }

// ShortNames implements rest.ShortNamesProvider.
func (*REST) ShortNames() []string { return []string{"isimage"} }

// GetSingularName implements rest.SingularNameProvider.
func (*REST) GetSingularName() string { return "imagestreamimage" }

// Get finds the image that name stands for.
func (r *REST) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	streamName, id, err := reference.SplitStreamImage(name)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	stream, err := r.streams.Find(ctx, streamName)
	if err != nil {
		return nil, err
	}
	contents, err := r.layers.Layers(ctx, stream)
	if err != nil {
		return nil, err
	}
	digests := make([]string, 0, len(contents.Images))
	for digest := range contents.Images {
		digests = append(digests, digest)
	}

	resource := imageapi.Resource("imagestreamimages")
	digest, err := reference.MatchID(id, digests)
	if err != nil {
		return nil, apierrors.NewConflict(resource, name, err)
	}
	if digest == "" {
		return nil, apierrors.NewNotFound(resource, name)
	}
	image, err := r.images.Find(ctx, digest)
	if err != nil {
		return nil, err
	}
	return assemble(request.NamespaceValue(ctx), name, stream, image), nil
}

func assemble(namespace, name string, stream *imageapi.ImageStream, image *imageapi.Image) *imageapi.ImageStreamImage {
	shown := image.DeepCopy()
	shown.DockerImageManifest, shown.DockerImageConfig = "", ""
	result := &imageapi.ImageStreamImage{Image: *shown}
	result.Namespace = namespace
	result.Name = name
	result.CreationTimestamp = image.CreationTimestamp
	result.Annotations = stream.DeepCopy().Annotations
	return result
}
