package imagestreamtag

import (
	"maps"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/history"
)

// exists tells whether the stream has the tag in spec or status.
func exists(stream *imageapi.ImageStream, tag string) bool {
	_, inSpec := stream.Spec.Tags[tag]
	_, inStatus := stream.Status.Tags[tag]
	return inSpec || inStatus
}

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

	policy := imageapi.SourceTagReferencePolicy
	if wanted, found := stream.Spec.Tags[tag]; found {
		result.Tag = wanted.DeepCopy()
		result.Annotations = maps.Clone(wanted.Annotations)
		policy = wanted.ReferencePolicy.Type
	}
	if image != nil {
		result.Image = *image.DeepCopy()
		result.Image.DockerImageManifest, result.Image.DockerImageConfig = "", ""
		mergeAnnotations(&result.Image, result.Annotations)
	}
	result.Image.DockerImageReference = referenceFor(stream, event, policy)
	return result
}

// referenceFor is the pull spec that readers of a tag get. A Local policy
// means this registry, if it has a name and the image is known.
func referenceFor(stream *imageapi.ImageStream, event imageapi.TagEvent, policy imageapi.TagReferencePolicyType) string {
	if policy == imageapi.LocalTagReferencePolicy && event.Image != "" && stream.Status.DockerImageRepository != "" {
		return stream.Status.DockerImageRepository + "@" + event.Image
	}
	return event.DockerImageReference
}

func mergeAnnotations(image *imageapi.Image, annotations map[string]string) {
	if len(annotations) == 0 {
		return
	}
	if image.Annotations == nil {
		image.Annotations = map[string]string{}
	}
	maps.Copy(image.Annotations, annotations)
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
