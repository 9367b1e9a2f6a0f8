package imagetag

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
	tag := obj.(*imageapi.ImageTag)
	tag.Status = nil
	tag.Image = nil
	nameTag(tag)
}

// Validate checks a tag that is created.
func (strategy) Validate(_ context.Context, obj runtime.Object) field.ErrorList {
	tag := obj.(*imageapi.ImageTag)
	errs := validation.Bounded(validation.ImageTag(tag))
	if tag.Spec == nil {
		errs = append(errs, field.Required(field.NewPath("spec"), "say where the tag comes from"))
	}
	return errs
}

// PrepareForUpdate fills in what the writer left out and restores the image,
// which is only shown.
func (strategy) PrepareForUpdate(_ context.Context, obj, oldObj runtime.Object) {
	tag, old := obj.(*imageapi.ImageTag), oldObj.(*imageapi.ImageTag)
	tag.Image = old.Image
	tag.ManagedFields = nil
	if tag.Status == nil {
		tag.Status = old.Status
	}
	if len(tag.Labels) == 0 {
		tag.Labels = old.Labels
	}
	if len(tag.Annotations) == 0 {
		tag.Annotations = old.Annotations
	}
	if len(tag.OwnerReferences) == 0 {
		tag.OwnerReferences = old.OwnerReferences
	}
	if len(tag.Finalizers) == 0 {
		tag.Finalizers = old.Finalizers
	}
	tag.CreationTimestamp = old.CreationTimestamp
	tag.DeletionTimestamp = old.DeletionTimestamp
	tag.DeletionGracePeriodSeconds = old.DeletionGracePeriodSeconds
	nameTag(tag)
}

// ValidateUpdate refuses changes of anything but the spec.
func (strategy) ValidateUpdate(_ context.Context, obj, oldObj runtime.Object) field.ErrorList {
	tag, old := obj.(*imageapi.ImageTag), oldObj.(*imageapi.ImageTag)
	errs := validation.Bounded(validation.ImageTag(tag))
	if !equality.Semantic.DeepEqual(fixedMeta(tag), fixedMeta(old)) {
		errs = append(errs, field.Invalid(field.NewPath("metadata"), tag.Name, "cannot be changed through a tag: it is that of the image stream"))
	}
	if !equality.Semantic.DeepEqual(tag.Status, old.Status) {
		errs = append(errs, field.Invalid(field.NewPath("status"), tag.Name, "cannot be changed: it follows from imports and pushes"))
	}
	return errs
}

// fixedMeta is the metadata without what a writer does not decide.
func fixedMeta(tag *imageapi.ImageTag) metav1.ObjectMeta {
	meta := *tag.ObjectMeta.DeepCopy()
	meta.ManagedFields = nil
	meta.Generation = 0
	return meta
}

// nameTag names a spec that comes without a name.
func nameTag(tag *imageapi.ImageTag) {
	if tag.Spec == nil || tag.Spec.Name != "" {
		return
	}
	if _, name, err := reference.SplitStreamTag(tag.Name); err == nil {
		tag.Spec.Name = name
	}
}
