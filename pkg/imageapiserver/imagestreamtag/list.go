package imagestreamtag

import (
	"context"
	"slices"

	metainternal "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/history"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/tagview"
)

// List returns the tags that point at an image, of all streams selected. A
// limit limits streams. Of the image, name and pull spec are given.
func (r *REST) List(ctx context.Context, options *metainternal.ListOptions) (runtime.Object, error) {
	streams, selector, err := tagview.StreamsFor(ctx, r.streams, options)
	if err != nil {
		return nil, err
	}
	list := &imageapi.ImageStreamTagList{ListMeta: streams.ListMeta, Items: []imageapi.ImageStreamTag{}}
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
		if tagview.Selected(selector, &item.ObjectMeta) {
			items = append(items, *item)
		}
	}
	return items
}
