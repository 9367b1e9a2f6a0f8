package imagestreamtag

import (
	"maps"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/history"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/tagview"
)

// assemble puts a tag object together. The tag may have no event yet; image is
// nil when there is none or it is not known.
func assemble(stream *imageapi.ImageStream, tag string, image *imageapi.Image) *imageapi.ImageStreamTag {
	event, _ := history.Head(stream, tag)
	result := &imageapi.ImageStreamTag{
		Generation:   event.Generation,
		LookupPolicy: stream.Spec.LookupPolicy,
		Conditions:   append([]imageapi.TagEventCondition(nil), stream.Status.Tags[tag].Conditions...),
		History:      olderDigests(stream, tag),
	}
	result.Namespace = stream.Namespace
	result.Name = stream.Name + ":" + tag
	result.CreationTimestamp = event.Created
	result.Labels = maps.Clone(stream.Labels)
	result.ResourceVersion = stream.ResourceVersion
	result.UID = stream.UID

	if wanted, found := stream.Spec.Tags[tag]; found {
		result.Tag = wanted.DeepCopy()
		result.Annotations = maps.Clone(wanted.Annotations)
	}
	if image != nil {
		result.Image = *tagview.Image(stream, tag, event, image)
	} else {
		result.Image.DockerImageReference = tagview.Reference(stream, tag, event)
	}
	return result
}

// olderDigests are the digests behind the head, newest first.
func olderDigests(stream *imageapi.ImageStream, tag string) []string {
	var digests []string
	for i, event := range stream.Status.Tags[tag].Items {
		if i > 0 && event.Image != "" {
			digests = append(digests, event.Image)
		}
	}
	return digests
}
