package validation

import (
	genericvalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"image.alauda.io/api/image/reference"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// ImageStreamTag checks a tag that is created or updated by itself.
func ImageStreamTag(tag *imageapi.ImageStreamTag) field.ErrorList {
	return tagObject(&tag.ObjectMeta, tag.Tag, field.NewPath("tag"))
}

// ImageTag checks a tag that is created or updated by itself.
func ImageTag(tag *imageapi.ImageTag) field.ErrorList {
	return tagObject(&tag.ObjectMeta, tag.Spec, field.NewPath("spec"))
}

// tagObject checks an object that stands for one tag. path is where its spec
// tag is.
func tagObject(meta *metav1.ObjectMeta, spec *imageapi.TagReference, path *field.Path) field.ErrorList {
	errs := genericvalidation.ValidateObjectMeta(meta, true, anyName, field.NewPath("metadata"))
	namePath := field.NewPath("metadata", "name")
	stream, name, err := reference.SplitStreamTag(meta.Name)
	if err != nil {
		return append(errs, field.Invalid(namePath, meta.Name, err.Error()))
	}
	for _, problem := range StreamName(stream, false) {
		errs = append(errs, field.Invalid(namePath, meta.Name, problem))
	}
	errs = append(errs, repositoryLength(meta.Namespace, stream)...)
	if err := reference.ValidateTag(name); err != nil {
		errs = append(errs, field.Invalid(namePath, meta.Name, err.Error()))
	}
	if spec == nil {
		return errs
	}
	errs = append(errs, specTagBody(stream, spec, path)...)
	if spec.Name != name {
		errs = append(errs, field.Invalid(path.Child("name"), spec.Name, "must be the tag in metadata.name"))
	}
	return errs
}
