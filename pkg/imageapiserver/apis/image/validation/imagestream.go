package validation

import (
	"fmt"
	"sort"

	genericvalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"image.alauda.io/api/image/reference"
	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// ImageStream checks a stream as it will be stored, after its tags were
// resolved.
func ImageStream(stream *imageapi.ImageStream) field.ErrorList {
	errs := genericvalidation.ValidateObjectMeta(&stream.ObjectMeta, true, StreamName, field.NewPath("metadata"))
	errs = append(errs, repositoryLength(stream.Namespace, stream.Name)...)
	errs = append(errs, specRepository(stream.Spec.DockerImageRepository, field.NewPath("spec", "dockerImageRepository"))...)
	for _, name := range sortedKeys(stream.Spec.Tags) {
		tag := stream.Spec.Tags[name]
		errs = append(errs, SpecTag(stream.Name, name, &tag, field.NewPath("spec", "tags").Key(name))...)
	}
	for _, name := range sortedKeys(stream.Status.Tags) {
		errs = append(errs, statusTag(name, stream.Status.Tags[name], field.NewPath("status", "tags").Key(name))...)
	}
	return errs
}

// ImageStreamUpdate checks a stream that replaces old.
func ImageStreamUpdate(stream, old *imageapi.ImageStream) field.ErrorList {
	errs := genericvalidation.ValidateObjectMetaUpdate(&stream.ObjectMeta, &old.ObjectMeta, field.NewPath("metadata"))
	return append(errs, ImageStream(stream)...)
}

func repositoryLength(namespace, name string) field.ErrorList {
	if len(namespace)+1+len(name) <= reference.MaxRepositoryLength {
		return nil
	}
	message := fmt.Sprintf("namespace and name together must not be longer than %d characters", reference.MaxRepositoryLength-1)
	return field.ErrorList{field.Invalid(field.NewPath("metadata", "name"), name, message)}
}

func specRepository(text string, path *field.Path) field.ErrorList {
	if text == "" {
		return nil
	}
	ref, err := reference.Parse(text)
	if err != nil {
		return field.ErrorList{field.Invalid(path, text, err.Error())}
	}
	if ref.Tag != "" || ref.ID != "" {
		return field.ErrorList{field.Invalid(path, text, "must name a repository, without tag or digest")}
	}
	return nil
}

// SpecTag checks one tag of the spec of stream. name is its key.
func SpecTag(stream, name string, tag *imageapi.TagReference, path *field.Path) field.ErrorList {
	return append(TagName(name, path.Child("name")), specTagBody(stream, tag, path)...)
}

// specTagBody checks all but the name of a spec tag.
func specTagBody(stream string, tag *imageapi.TagReference, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if tag.From != nil {
		errs = append(errs, tagSource(stream, tag, path.Child("from"))...)
		if tag.ImportPolicy.Scheduled && tag.From.Kind != imagev1.KindDockerImage {
			errs = append(errs, field.Invalid(path.Child("importPolicy", "scheduled"), true, "only tags from a DockerImage can be imported on a schedule"))
		}
	}
	switch tag.ReferencePolicy.Type {
	case imageapi.SourceTagReferencePolicy, imageapi.LocalTagReferencePolicy:
	default:
		errs = append(errs, field.NotSupported(path.Child("referencePolicy", "type"), tag.ReferencePolicy.Type,
			[]imageapi.TagReferencePolicyType{imageapi.SourceTagReferencePolicy, imageapi.LocalTagReferencePolicy}))
	}
	switch tag.ImportPolicy.ImportMode {
	case "", imageapi.ImportModeLegacy, imageapi.ImportModePreserveOriginal:
	default:
		errs = append(errs, field.NotSupported(path.Child("importPolicy", "importMode"), tag.ImportPolicy.ImportMode,
			[]imageapi.ImportModeType{imageapi.ImportModeLegacy, imageapi.ImportModePreserveOriginal}))
	}
	return errs
}

// TagName checks the name of a tag.
func TagName(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	if err := reference.ValidateTag(name); err != nil {
		return field.ErrorList{field.Invalid(path, name, err.Error())}
	}
	return nil
}

func tagSource(stream string, tag *imageapi.TagReference, path *field.Path) field.ErrorList {
	from := tag.From
	if from.Name == "" {
		return field.ErrorList{field.Required(path.Child("name"), "")}
	}
	origin, err := "", error(nil)
	switch from.Kind {
	case imagev1.KindDockerImage:
		if from.Namespace != "" {
			return field.ErrorList{field.Forbidden(path.Child("namespace"), "a DockerImage has no namespace")}
		}
		return pullSpec(from.Name, path.Child("name"))
	case imagev1.KindImageStreamTag:
		origin, _, err = SplitTagSource(stream, from.Name)
	case imagev1.KindImageStreamImage:
		origin, _, err = SplitImageSource(stream, from.Name)
	default:
		return field.ErrorList{field.NotSupported(path.Child("kind"), from.Kind,
			[]string{imagev1.KindDockerImage, imagev1.KindImageStreamTag, imagev1.KindImageStreamImage})}
	}
	if err != nil {
		return field.ErrorList{field.Invalid(path.Child("name"), from.Name, err.Error())}
	}
	if problems := StreamName(origin, false); origin != stream && len(problems) > 0 {
		return field.ErrorList{field.Invalid(path.Child("name"), from.Name, problems[0])}
	}
	if problems := namespaceName(from.Namespace); len(problems) > 0 {
		return field.ErrorList{field.Invalid(path.Child("namespace"), from.Namespace, problems[0])}
	}
	return nil
}

func statusTag(name string, list imageapi.TagEventList, path *field.Path) field.ErrorList {
	errs := TagName(name, path.Child("tag"))
	for i, event := range list.Items {
		errs = append(errs, pullSpec(event.DockerImageReference, path.Child("items").Index(i).Child("dockerImageReference"))...)
	}
	return errs
}

// ImageStreamMapping checks a mapping.
func ImageStreamMapping(mapping *imageapi.ImageStreamMapping) field.ErrorList {
	errs := genericvalidation.ValidateObjectMeta(&mapping.ObjectMeta, true, StreamName, field.NewPath("metadata"))
	errs = append(errs, repositoryLength(mapping.Namespace, mapping.Name)...)
	errs = append(errs, TagName(mapping.Tag, field.NewPath("tag"))...)
	return append(errs, Image(&mapping.Image, field.NewPath("image"))...)
}

// anyName leaves the check of a name to the caller.
func anyName(string, bool) []string { return nil }

func sortedKeys[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
