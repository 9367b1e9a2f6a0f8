package imagetag

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/history"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/tagview"
)

// assemble puts a tag object together. image is nil when the tag points at
// none, or at one that does not exist.
func assemble(stream *imageapi.ImageStream, tag string, image *imageapi.Image) *imageapi.ImageTag {
	result := &imageapi.ImageTag{ObjectMeta: metaOf(stream)}
	result.Name = stream.Name + ":" + tag
	if wanted, found := stream.Spec.Tags[tag]; found {
		result.Spec = wanted.DeepCopy()
	}
	if list, found := stream.Status.Tags[tag]; found {
		list = *list.DeepCopy()
		result.Status = &imageapi.NamedTagEventList{Tag: tag, Items: list.Items, Conditions: list.Conditions}
	}
	if event, found := history.Head(stream, tag); found && image != nil {
		result.Image = tagview.Image(stream, tag, event, image)
	}
	return result
}

// metaOf is the metadata of a stream without what speaks of its fields: who
// owns them, and what was applied. Both grow with the number of tags, and a
// list would repeat them for each.
func metaOf(stream *imageapi.ImageStream) metav1.ObjectMeta {
	meta := stream.ObjectMeta
	meta.ManagedFields = nil
	if _, applied := meta.Annotations[corev1.LastAppliedConfigAnnotation]; applied {
		meta.Annotations = maps.Clone(meta.Annotations)
		delete(meta.Annotations, corev1.LastAppliedConfigAnnotation)
	}
	return *meta.DeepCopy()
}
