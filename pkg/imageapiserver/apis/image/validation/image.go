package validation

import (
	"fmt"

	genericvalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/oci/manifest"
)

// Image checks an image as it will be stored or mapped. path is where it
// stands in the object, nil for the object itself.
func Image(image *imageapi.Image, path *field.Path) field.ErrorList {
	errs := genericvalidation.ValidateObjectMeta(&image.ObjectMeta, false, ImageName, path.Child("metadata"))
	errs = append(errs, pullSpec(image.DockerImageReference, path.Child("dockerImageReference"))...)
	errs = append(errs, rawManifest(image, path.Child("dockerImageManifest"))...)
	errs = append(errs, lastReferenced(image, path.Child("metadata", "annotations"))...)
	errs = append(errs, signatures(image, path.Child("signatures"))...)
	for i := range image.DockerImageManifests {
		errs = append(errs, child(&image.DockerImageManifests[i], path.Child("dockerImageManifests").Index(i))...)
	}
	if len(image.DockerImageManifests) > 0 && len(image.DockerImageLayers) > 0 {
		errs = append(errs, field.Forbidden(path.Child("dockerImageLayers"), "an index has manifests and no layers"))
	}
	return errs
}

// ImageUpdate checks an image that replaces old.
func ImageUpdate(image, old *imageapi.Image) field.ErrorList {
	errs := genericvalidation.ValidateObjectMetaUpdate(&image.ObjectMeta, &old.ObjectMeta, field.NewPath("metadata"))
	errs = append(errs, signaturesUpdate(image, old, field.NewPath("signatures"))...)
	return append(errs, Image(image, nil)...)
}

// rawManifest refuses a manifest that does not hash to the name of its image.
func rawManifest(image *imageapi.Image, path *field.Path) field.ErrorList {
	if image.DockerImageManifest == "" || !IsDigest(image.Name) {
		return nil
	}
	want, err := manifest.ParseDigest(image.Name)
	if err != nil {
		return field.ErrorList{field.Invalid(path.Root().Child("metadata", "name"), image.Name, err.Error())}
	}
	if err := manifest.Verify([]byte(image.DockerImageManifest), want); err != nil {
		return field.ErrorList{field.Invalid(path, "<manifest>", fmt.Sprintf("must hash to the name of the image: %v", err))}
	}
	return nil
}

func lastReferenced(image *imageapi.Image, path *field.Path) field.ErrorList {
	value, found := image.Annotations[imagev1.ImageLastReferencedTimeAnnotation]
	if !found {
		return nil
	}
	if _, err := ParseTime(value); err != nil {
		return field.ErrorList{field.Invalid(path.Key(imagev1.ImageLastReferencedTimeAnnotation), value, "must be a time in RFC 3339 form")}
	}
	return nil
}

func child(child *imageapi.ImageManifest, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if !IsDigest(child.Digest) {
		errs = append(errs, field.Invalid(path.Child("digest"), child.Digest, "must be a digest as sha256:<64 hexadecimal digits>"))
	}
	if !mediaTypePattern.MatchString(child.MediaType) {
		errs = append(errs, field.Invalid(path.Child("mediaType"), child.MediaType, "must be a media type as type/subtype"))
	}
	if child.Architecture == "" {
		errs = append(errs, field.Required(path.Child("architecture"), "use unknown when the index does not tell"))
	}
	if child.OS == "" {
		errs = append(errs, field.Required(path.Child("os"), "use unknown when the index does not tell"))
	}
	if child.ManifestSize < 0 {
		errs = append(errs, field.Invalid(path.Child("manifestSize"), child.ManifestSize, "must not be negative"))
	}
	return errs
}
