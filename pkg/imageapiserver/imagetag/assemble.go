package imagetag

import (
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/history"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/tagview"
)

// assemble puts a tag object together. image is nil when the tag points at
// none, or at one that does not exist.
func assemble(stream *imageapi.ImageStream, tag string, image *imageapi.Image) *imageapi.ImageTag {
	result := &imageapi.ImageTag{ObjectMeta: *stream.ObjectMeta.DeepCopy()}
	result.Name = stream.Name + ":" + tag
	// They speak of the fields of the stream.
	result.ManagedFields = nil
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
