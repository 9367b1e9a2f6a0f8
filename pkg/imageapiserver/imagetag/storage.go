package imagetag

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternal "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
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

// REST serves imagetags.
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
func (*REST) New() runtime.Object { return &imageapi.ImageTag{} }

// NewList implements rest.Lister.
func (*REST) NewList() runtime.Object { return &imageapi.ImageTagList{} }

// Destroy has nothing to release.
func (*REST) Destroy() {}

// NamespaceScoped is true.
func (*REST) NamespaceScoped() bool { return true }

// ShortNames implements rest.ShortNamesProvider.
func (*REST) ShortNames() []string { return []string{"itag"} }

// GetSingularName implements rest.SingularNameProvider.
func (*REST) GetSingularName() string { return "imagetag" }

// Get returns a tag that the stream has in spec or status.
func (r *REST) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	streamName, tag, err := tagview.Split(name)
	if err != nil {
		return nil, err
	}
	stream, err := r.streams.Find(ctx, streamName)
	if err != nil {
		return nil, err
	}
	if !tagview.Exists(stream, tag) {
		return nil, apierrors.NewNotFound(resource(), name)
	}
	return r.current(ctx, stream, tag)
}

// List returns the tags in spec and status of all streams selected, without
// images. A limit limits streams.
func (r *REST) List(ctx context.Context, options *metainternal.ListOptions) (runtime.Object, error) {
	streams, selector, err := tagview.StreamsFor(ctx, r.streams, options)
	if err != nil {
		return nil, err
	}
	list := &imageapi.ImageTagList{ListMeta: streams.ListMeta, Items: []imageapi.ImageTag{}}
	for i := range streams.Items {
		list.Items = append(list.Items, tagsOf(&streams.Items[i], selector)...)
	}
	return list, nil
}

func tagsOf(stream *imageapi.ImageStream, selector fields.Selector) []imageapi.ImageTag {
	var tags []string
	for tag := range stream.Spec.Tags {
		tags = append(tags, tag)
	}
	for tag := range stream.Status.Tags {
		if _, found := stream.Spec.Tags[tag]; !found {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	var items []imageapi.ImageTag
	for _, tag := range tags {
		item := assemble(stream, tag, nil)
		if tagview.Selected(selector, &item.ObjectMeta) {
			items = append(items, *item)
		}
	}
	return items
}

// Create adds a tag to the spec of a stream, which is created when there is
// none.
func (r *REST) Create(ctx context.Context, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	tag, ok := obj.(*imageapi.ImageTag)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("%T is not an ImageTag", obj))
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
		setTag(stream, name, tag.Spec)
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

// current assembles a tag with its image, if there is one.
func (r *REST) current(ctx context.Context, stream *imageapi.ImageStream, tag string) (*imageapi.ImageTag, error) {
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

// setTag writes a tag into the spec of a stream; nil takes it out.
func setTag(stream *imageapi.ImageStream, name string, spec *imageapi.TagReference) {
	if spec == nil {
		delete(stream.Spec.Tags, name)
		return
	}
	if stream.Spec.Tags == nil {
		stream.Spec.Tags = map[string]imageapi.TagReference{}
	}
	wanted := *spec.DeepCopy()
	wanted.Name = name
	stream.Spec.Tags[name] = wanted
}

func resource() schema.GroupResource { return imageapi.Resource("imagetags") }
