// Package tagview holds what the resources that show one tag of a stream have
// in common: imagestreamtags and imagetags.
//
// In: a stream, a tag and perhaps the Image that the tag points at; the
// options of a request. Out: names split into stream and tag, the image as
// readers of the tag see it, selectors of streams, and the checks of
// preconditions.
//
// It reads and writes nothing by itself; removal goes through the store of
// streams that the caller hands in.
package tagview

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternal "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"image.alauda.io/api/image/reference"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream"
)

// Streams reads and changes image streams of the namespace in ctx.
type Streams interface {
	Find(ctx context.Context, name string) (*imageapi.ImageStream, error)
	FindList(ctx context.Context, options *metainternal.ListOptions) (*imageapi.ImageStreamList, error)
	Mutate(ctx context.Context, name string, mutation imagestream.Mutation, fn func(*imageapi.ImageStream) error) (*imageapi.ImageStream, bool, error)
}

// Images reads Images.
type Images interface {
	Find(ctx context.Context, name string) (*imageapi.Image, error)
}

// Split takes the name of a tag object apart; a name that is none is a bad
// request.
func Split(name string) (stream, tag string, err error) {
	stream, tag, err = reference.SplitStreamTag(name)
	if err != nil {
		return "", "", apierrors.NewBadRequest("tag of an image stream: " + err.Error())
	}
	return stream, tag, nil
}

// Exists tells whether the stream has the tag in spec or status.
func Exists(stream *imageapi.ImageStream, tag string) bool {
	_, inSpec := stream.Spec.Tags[tag]
	_, inStatus := stream.Status.Tags[tag]
	return inSpec || inStatus
}

// Image is the image as readers of the tag see it: without its raw documents,
// with the annotations of the spec tag, under the pull spec that the tag's
// reference policy asks for.
func Image(stream *imageapi.ImageStream, tag string, event imageapi.TagEvent, image *imageapi.Image) *imageapi.Image {
	shown := image.DeepCopy()
	shown.DockerImageManifest, shown.DockerImageConfig = "", ""
	if annotations := stream.Spec.Tags[tag].Annotations; len(annotations) > 0 {
		if shown.Annotations == nil {
			shown.Annotations = map[string]string{}
		}
		maps.Copy(shown.Annotations, annotations)
	}
	shown.DockerImageReference = Reference(stream, tag, event)
	return shown
}

// Reference is the pull spec that readers of a tag get. A Local policy means
// this registry, if it has a name and the image is known.
func Reference(stream *imageapi.ImageStream, tag string, event imageapi.TagEvent) string {
	wanted, found := stream.Spec.Tags[tag]
	local := found && wanted.ReferencePolicy.Type == imageapi.LocalTagReferencePolicy
	if local && event.Image != "" && stream.Status.DockerImageRepository != "" {
		return stream.Status.DockerImageRepository + "@" + event.Image
	}
	return event.DockerImageReference
}

// StreamsFor reads the streams in which tags that options select can be,
// sorted by namespace and name. The selector that comes back applies to the
// tags.
func StreamsFor(ctx context.Context, streams Streams, options *metainternal.ListOptions) (*imageapi.ImageStreamList, fields.Selector, error) {
	selector := fields.Everything()
	var streamOptions *metainternal.ListOptions
	if options != nil {
		streamOptions = options.DeepCopy()
		if options.FieldSelector != nil {
			selector = options.FieldSelector
			streamOptions.FieldSelector = streamSelector(selector)
		}
	}
	list, err := streams.FindList(ctx, streamOptions)
	if err != nil {
		return nil, nil, err
	}
	slices.SortFunc(list.Items, func(a, b imageapi.ImageStream) int {
		if order := strings.Compare(a.Namespace, b.Namespace); order != 0 {
			return order
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list, selector, nil
}

// Selected tells whether a selector takes a tag object.
func Selected(selector fields.Selector, meta *metav1.ObjectMeta) bool {
	return selector.Matches(fields.Set{"metadata.name": meta.Name, "metadata.namespace": meta.Namespace})
}

// streamSelector selects the streams in which tags that match selector can be.
func streamSelector(selector fields.Selector) fields.Selector {
	var parts []fields.Selector
	if name, found := selector.RequiresExactMatch("metadata.name"); found {
		// A name without colon is no tag's; as a stream's name it matches a
		// stream whose tags the caller then leaves out.
		stream, _, err := reference.SplitStreamTag(name)
		if err != nil {
			stream = name
		}
		parts = append(parts, fields.OneTermEqualSelector("metadata.name", stream))
	}
	if namespace, found := selector.RequiresExactMatch("metadata.namespace"); found {
		parts = append(parts, fields.OneTermEqualSelector("metadata.namespace", namespace))
	}
	return fields.AndSelectors(parts...)
}

// CheckVersion compares what a writer of a tag has seen with the stream: the
// resourceVersion in the object, if it has one, and the preconditions of the
// request. A stream without resourceVersion does not exist yet.
func CheckVersion(resource schema.GroupResource, name, version string, conditions *metav1.Preconditions, stream *imageapi.ImageStream) error {
	if stream.ResourceVersion == "" {
		if version != "" {
			return apierrors.NewNotFound(resource, name)
		}
		return nil
	}
	if version != "" && version != stream.ResourceVersion {
		return apierrors.NewConflict(resource, name, fmt.Errorf("the image stream has resourceVersion %s, not %s: read the tag again", stream.ResourceVersion, version))
	}
	if conditions != nil && conditions.UID != nil && *conditions.UID != stream.UID {
		return apierrors.NewConflict(resource, name, fmt.Errorf("the image stream has UID %s, not %s", stream.UID, *conditions.UID))
	}
	return nil
}

// Remove deletes a tag with its history from its stream. check is called with
// the stream before that.
func Remove(ctx context.Context, streams Streams, resource schema.GroupResource, name string, options *metav1.DeleteOptions, check func(stream *imageapi.ImageStream, tag string) error) error {
	streamName, tag, err := Split(name)
	if err != nil {
		return err
	}
	_, _, err = streams.Mutate(ctx, streamName, mutationOf(options), func(stream *imageapi.ImageStream) error {
		if !Exists(stream, tag) {
			return apierrors.NewNotFound(resource, name)
		}
		if err := check(stream, tag); err != nil {
			return err
		}
		delete(stream.Spec.Tags, tag)
		delete(stream.Status.Tags, tag)
		return nil
	})
	return err
}

func mutationOf(options *metav1.DeleteOptions) imagestream.Mutation {
	mutation := imagestream.Mutation{}
	if options == nil {
		return mutation
	}
	mutation.DryRun = options.DryRun
	if conditions := options.Preconditions; conditions != nil {
		if conditions.UID != nil {
			mutation.UID = *conditions.UID
		}
		if conditions.ResourceVersion != nil {
			mutation.ResourceVersion = *conditions.ResourceVersion
		}
	}
	return mutation
}
