package imagestreamimport

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	genericvalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"image.alauda.io/api/image/reference"
	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/validation"
)

// maxImages is the number of single images in one request.
const maxImages = 100

// validate checks a request.
func validate(request *imageapi.ImageStreamImport) field.ErrorList {
	errs := genericvalidation.ValidateObjectMeta(&request.ObjectMeta, true, validation.StreamName, field.NewPath("metadata"))
	if length := len(request.Namespace) + 1 + len(request.Name); length > reference.MaxRepositoryLength {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), request.Name,
			fmt.Sprintf("namespace and name together must not be longer than %d characters", reference.MaxRepositoryLength-1)))
	}
	spec := field.NewPath("spec")
	if len(request.Spec.Images) == 0 && request.Spec.Repository == nil {
		errs = append(errs, field.Required(spec.Child("images"), "name at least one image, or a repository"))
	}
	if len(request.Spec.Images) > maxImages {
		return append(errs, field.TooMany(spec.Child("images"), len(request.Spec.Images), maxImages))
	}
	for i := range request.Spec.Images {
		errs = append(errs, validateImage(&request.Spec.Images[i], spec.Child("images").Index(i))...)
	}
	if repository := request.Spec.Repository; repository != nil {
		errs = append(errs, validateRepository(repository, spec.Child("repository"))...)
	}
	return errs
}

func validateImage(image *imageapi.ImageImportSpec, path *field.Path) field.ErrorList {
	_, errs := source(&image.From, path.Child("from"))
	if image.To != nil {
		errs = append(errs, validation.TagName(image.To.Name, path.Child("to", "name"))...)
	}
	return append(errs, policies(image.ImportPolicy, image.ReferencePolicy, path)...)
}

func validateRepository(repository *imageapi.RepositoryImportSpec, path *field.Path) field.ErrorList {
	ref, errs := source(&repository.From, path.Child("from"))
	if ref.Tag != "" || ref.ID != "" {
		errs = append(errs, field.Invalid(path.Child("from", "name"), repository.From.Name, "must name a repository, without tag or digest"))
	}
	return append(errs, policies(repository.ImportPolicy, repository.ReferencePolicy, path)...)
}

// source checks where to import from.
func source(from *corev1.ObjectReference, path *field.Path) (reference.DockerImageReference, field.ErrorList) {
	var errs field.ErrorList
	if from.Kind != imagev1.KindDockerImage {
		errs = append(errs, field.NotSupported(path.Child("kind"), from.Kind, []string{imagev1.KindDockerImage}))
	}
	if from.Namespace != "" {
		errs = append(errs, field.Forbidden(path.Child("namespace"), "a DockerImage has no namespace"))
	}
	if from.Name == "" {
		return reference.DockerImageReference{}, append(errs, field.Required(path.Child("name"), "name an image as host/namespace/name:tag or @digest"))
	}
	ref, err := reference.Parse(from.Name)
	if err != nil {
		return ref, append(errs, field.Invalid(path.Child("name"), from.Name, err.Error()))
	}
	if ref.Name == "" {
		errs = append(errs, field.Invalid(path.Child("name"), from.Name, "must name a repository of that registry"))
	}
	return ref, errs
}

func policies(importPolicy imageapi.TagImportPolicy, referencePolicy imageapi.TagReferencePolicy, path *field.Path) field.ErrorList {
	// The rules are those of a spec tag, which the request is about to write.
	tag := imageapi.TagReference{ImportPolicy: importPolicy, ReferencePolicy: referencePolicy}
	return validation.SpecTag("", imagev1.DefaultImageTag, &tag, path)
}
