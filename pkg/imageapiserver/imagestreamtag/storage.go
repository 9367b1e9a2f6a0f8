package imagestreamtag

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/names"
	"k8s.io/utils/clock"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/table"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/history"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/tagview"
)

// REST serves imagestreamtags.
type REST struct {
	streams  tagview.Streams
	images   tagview.Images
	strategy strategy
	*table.Convertor
}

var (
	_ rest.Getter               = &REST{}
	_ rest.Lister               = &REST{}
	_ rest.Creater              = &REST{}
	_ rest.Patcher              = &REST{}
	_ rest.GracefulDeleter      = &REST{}
	_ rest.Scoper               = &REST{}
	_ rest.ShortNamesProvider   = &REST{}
	_ rest.SingularNameProvider = &REST{}
)

// NewREST serves tags of streams.
func NewREST(streams tagview.Streams, images tagview.Images, typer runtime.ObjectTyper, clock clock.PassiveClock) *REST {
	return &REST{
		streams:   streams,
		images:    images,
		strategy:  strategy{ObjectTyper: typer, NameGenerator: names.SimpleNameGenerator},
		Convertor: newTable(clock),
	}
}

// New implements rest.Storage.
func (*REST) New() runtime.Object { return &imageapi.ImageStreamTag{} }

// NewList implements rest.Lister.
func (*REST) NewList() runtime.Object { return &imageapi.ImageStreamTagList{} }

// Destroy has nothing to release.
func (*REST) Destroy() {}

// NamespaceScoped is true.
func (*REST) NamespaceScoped() bool { return true }

// ShortNames implements rest.ShortNamesProvider.
func (*REST) ShortNames() []string { return []string{"istag"} }

// GetSingularName implements rest.SingularNameProvider.
func (*REST) GetSingularName() string { return "imagestreamtag" }

// Get returns a tag that points at an image.
func (r *REST) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	streamName, tag, err := tagview.Split(name)
	if err != nil {
		return nil, err
	}
	stream, err := r.streams.Find(ctx, streamName)
	if err != nil {
		return nil, err
	}
	event, found := history.Head(stream, tag)
	if !found || event.Image == "" {
		return nil, apierrors.NewNotFound(resource(), name)
	}
	image, err := r.images.Find(ctx, event.Image)
	if err != nil {
		return nil, err
	}
	return assemble(stream, tag, image), nil
}

// Create adds a tag to the spec of a stream, which is created when there is
// none.
func (r *REST) Create(ctx context.Context, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	tag, ok := obj.(*imageapi.ImageStreamTag)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("%T is not an ImageStreamTag", obj))
	}
	streamName, name, err := tagview.Split(tag.Name)
	if err != nil {
		return nil, err
	}
	rest.FillObjectMetaSystemFields(&tag.ObjectMeta)
	if err := rest.BeforeCreate(r.strategy, ctx, tag); err != nil {
		return nil, err
	}
	if validate != nil {
		if err := validate(ctx, tag.DeepCopyObject()); err != nil {
			return nil, err
		}
	}
	mutation := imagestream.Mutation{AllowCreate: true, DryRun: options.DryRun}
	stream, _, err := r.streams.Mutate(ctx, streamName, mutation, func(stream *imageapi.ImageStream) error {
		if _, found := stream.Spec.Tags[name]; found {
			return apierrors.NewAlreadyExists(resource(), tag.Name)
		}
		setTag(stream, name, tag)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r.current(ctx, stream, name)
}

// Delete removes a tag from spec and status of its stream.
func (r *REST) Delete(ctx context.Context, name string, validate rest.ValidateObjectFunc, options *metav1.DeleteOptions) (runtime.Object, bool, error) {
	err := tagview.Remove(ctx, r.streams, resource(), name, options, func(stream *imageapi.ImageStream, tag string) error {
		if validate == nil {
			return nil
		}
		return validate(ctx, assemble(stream, tag, nil))
	})
	if err != nil {
		return nil, false, err
	}
	return &metav1.Status{Status: metav1.StatusSuccess}, true, nil
}

// current assembles a tag as it is after a change. The image is shown when it
// is known; a tag without image is fine.
func (r *REST) current(ctx context.Context, stream *imageapi.ImageStream, tag string) (*imageapi.ImageStreamTag, error) {
	event, found := history.Head(stream, tag)
	if !found || event.Image == "" {
		return assemble(stream, tag, nil), nil
	}
	image, err := r.images.Find(ctx, event.Image)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	return assemble(stream, tag, image), nil
}

// setTag writes the tag object into the spec of a stream.
func setTag(stream *imageapi.ImageStream, name string, tag *imageapi.ImageStreamTag) {
	wanted := stream.Spec.Tags[name]
	if tag.Tag != nil {
		wanted = *tag.Tag.DeepCopy()
	}
	wanted.Name = name
	wanted.Annotations = nil
	if len(tag.Annotations) > 0 {
		wanted.Annotations = tag.DeepCopy().Annotations
	}
	if stream.Spec.Tags == nil {
		stream.Spec.Tags = map[string]imageapi.TagReference{}
	}
	stream.Spec.Tags[name] = wanted
}

func resource() schema.GroupResource { return imageapi.Resource("imagestreamtags") }
