package imagestreamtag

import (
	"context"
	"slices"
	"strings"

	metainternal "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"

	"image.alauda.io/api/image/reference"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/history"
)

// List returns the tags that point at an image, of all streams selected. A
// limit limits streams. Of the image, name and pull spec are given.
func (r *REST) List(ctx context.Context, options *metainternal.ListOptions) (runtime.Object, error) {
	selector := fields.Everything()
	var streamOptions *metainternal.ListOptions
	if options != nil {
		streamOptions = options.DeepCopy()
		if options.FieldSelector != nil {
			selector = options.FieldSelector
			streamOptions.FieldSelector = streamSelector(selector)
		}
	}
	streams, err := r.streams.FindList(ctx, streamOptions)
	if err != nil {
		return nil, err
	}
	list := &imageapi.ImageStreamTagList{ListMeta: streams.ListMeta, Items: []imageapi.ImageStreamTag{}}
	slices.SortFunc(streams.Items, func(a, b imageapi.ImageStream) int {
		if order := strings.Compare(a.Namespace, b.Namespace); order != 0 {
			return order
		}
		return strings.Compare(a.Name, b.Name)
	})
	for i := range streams.Items {
		list.Items = append(list.Items, tagsOf(&streams.Items[i], selector)...)
	}
	return list, nil
}

func tagsOf(stream *imageapi.ImageStream, selector fields.Selector) []imageapi.ImageStreamTag {
	var tags []string
	for tag := range stream.Status.Tags {
		if event, found := history.Head(stream, tag); found && event.Image != "" {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	var items []imageapi.ImageStreamTag
	for _, tag := range tags {
		event, _ := history.Head(stream, tag)
		item := assemble(stream, tag, nil)
		item.Image.Name = event.Image
		if selector.Matches(fields.Set{"metadata.name": item.Name, "metadata.namespace": item.Namespace}) {
			items = append(items, *item)
		}
	}
	return items
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
