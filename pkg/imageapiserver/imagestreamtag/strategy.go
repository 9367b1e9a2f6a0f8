package imagestreamtag

import (
	"context"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/names"

	"image.alauda.io/api/image/reference"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/validation"
)

// strategy prepares and checks tag objects before they change a stream.
type strategy struct {
	runtime.ObjectTyper
	names.NameGenerator
}

var (
	_ rest.RESTCreateStrategy = strategy{}
	_ rest.RESTUpdateStrategy = strategy{}
)

// NamespaceScoped is true.
func (strategy) NamespaceScoped() bool { return true }

// AllowCreateOnUpdate is true: a PUT creates the tag.
func (strategy) AllowCreateOnUpdate(context.Context) bool { return true }

// AllowUnconditionalUpdate is true: without resourceVersion the last wins.
func (strategy) AllowUnconditionalUpdate(context.Context) bool { return true }

// Canonicalize has nothing to do.
func (strategy) Canonicalize(runtime.Object) {}

// WarningsOnCreate has nothing to say.
func (strategy) WarningsOnCreate(context.Context, runtime.Object) []string { return nil }

// WarningsOnUpdate has nothing to say.
func (strategy) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}

// PrepareForCreate clears what follows from the stream and names the tag.
func (strategy) PrepareForCreate(_ context.Context, obj runtime.Object) {
	tag := obj.(*imageapi.ImageStreamTag)
	tag.Conditions = nil
	tag.Image = imageapi.Image{}
	nameTag(tag)
}

// Validate checks a tag that is created.
func (strategy) Validate(_ context.Context, obj runtime.Object) field.ErrorList {
	tag := obj.(*imageapi.ImageStreamTag)
	errs := validation.Bounded(validation.ImageStreamTag(tag))
	if tag.Tag == nil {
		return append(errs, field.Required(field.NewPath("tag"), "say where the tag comes from"))
	}
	if len(tag.Tag.Annotations) > 0 && !equality.Semantic.DeepEqual(tag.Tag.Annotations, tag.Annotations) {
		errs = append(errs, field.Invalid(field.NewPath("tag", "annotations"), tag.Tag.Annotations, "must be the same as metadata.annotations"))
	}
	return errs
}

// PrepareForUpdate restores what follows from the stream and the image.
func (strategy) PrepareForUpdate(_ context.Context, obj, oldObj runtime.Object) {
	tag, old := obj.(*imageapi.ImageStreamTag), oldObj.(*imageapi.ImageStreamTag)
	tag.Conditions = old.Conditions
	tag.Image = old.Image
	tag.History = old.History
	tag.LookupPolicy = old.LookupPolicy
	tag.CreationTimestamp = old.CreationTimestamp
	if len(tag.Labels) == 0 {
		tag.Labels = old.Labels
	}
	// The object's name says which tag is meant.
	if _, name, err := reference.SplitStreamTag(tag.Name); err == nil && tag.Tag != nil {
		tag.Tag.Name = name
	}
}

// ValidateUpdate refuses changes of anything but annotations and the tag.
func (strategy) ValidateUpdate(_ context.Context, obj, oldObj runtime.Object) field.ErrorList {
	tag, old := obj.(*imageapi.ImageStreamTag), oldObj.(*imageapi.ImageStreamTag)
	errs := validation.Bounded(validation.ImageStreamTag(tag))
	if !equality.Semantic.DeepEqual(fixedMeta(tag), fixedMeta(old)) {
		errs = append(errs, field.Invalid(field.NewPath("metadata"), tag.Name, "only annotations and the tag can be changed; labels belong to the image stream"))
	}
	return errs
}

// fixedMeta is the metadata without what may change.
func fixedMeta(tag *imageapi.ImageStreamTag) metav1.ObjectMeta {
	meta := *tag.ObjectMeta.DeepCopy()
	meta.Annotations = nil
	meta.ManagedFields = nil
	meta.Generation = 0
	if len(meta.Labels) == 0 {
		meta.Labels = nil
	}
	return meta
}

// nameTag names a spec tag that comes without a name.
func nameTag(tag *imageapi.ImageStreamTag) {
	if tag.Tag == nil {
		return
	}
	if _, name, err := reference.SplitStreamTag(tag.Name); err == nil && tag.Tag.Name == "" {
		tag.Tag.Name = name
	}
}
