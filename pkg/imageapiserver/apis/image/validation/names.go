// Package validation checks objects of the image API group: names, references,
// tags, images and streams.
//
// In: internal objects, after defaulting and preparation by a strategy. Out:
// lists of field errors, which become one 422 answer with a cause for each
// field, or, for names that cannot be split, an error that becomes a 400. The
// grammar itself is that of image.alauda.io/api/image/reference.
//
// It is pure: it reads no store, asks nobody and changes no object. Checks
// that need more (who may copy from where, what exists) are in the strategies.
package validation

import (
	"regexp"

	"k8s.io/apimachinery/pkg/api/validate/content"
	genericvalidation "k8s.io/apimachinery/pkg/api/validation"

	"image.alauda.io/api/image/reference"
)

var mediaTypePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$`)

// IsDigest tells whether text is a well-formed digest.
func IsDigest(text string) bool { return reference.ValidateDigest(text) == nil }

// pathSegment checks that a name, or the prefix of a generated one, can stand in a URL.
func pathSegment(name string, prefix bool) []string {
	if prefix {
		return content.IsPathSegmentPrefix(name)
	}
	return content.IsPathSegmentName(name)
}

// StreamName is the name check of ImageStreams. The length depends on the
// namespace and is checked with the stream.
func StreamName(name string, prefix bool) []string {
	problems := pathSegment(name, prefix)
	if prefix {
		name += "x" // what is generated begins like this: "app-" is the usual prefix, but no name
	}
	if err := reference.ValidateStreamName("", name); err != nil {
		problems = append(problems, err.Error())
	}
	return problems
}

// IsStream tells whether namespace and name can be those of a stream.
func IsStream(namespace, name string) bool {
	return namespace != "" && len(namespaceName(namespace)) == 0 && len(StreamName(name, false)) == 0
}

// namespaceName tells what is wrong with the name of a namespace, which may be left out.
func namespaceName(namespace string) []string {
	if namespace == "" {
		return nil
	}
	return genericvalidation.ValidateNamespaceName(namespace, false)
}

// ImageName is the name check of Images.
func ImageName(name string, prefix bool) []string {
	return pathSegment(name, prefix)
}

// SplitTagSource splits the name of an ImageStreamTag source in the spec of
// stream: "<tag>" of the same stream or "<stream>:<tag>".
func SplitTagSource(stream, source string) (sourceStream, tag string, err error) {
	sourceStream, tag, err = reference.SplitTagSource(source)
	if sourceStream == "" {
		sourceStream = stream
	}
	return sourceStream, tag, err
}

// SplitImageSource splits the name of an ImageStreamImage source in the spec
// of stream: "<id>" of the same stream or "<stream>@<id>".
func SplitImageSource(stream, source string) (sourceStream, id string, err error) {
	sourceStream, id, err = reference.SplitImageSource(source)
	if sourceStream == "" {
		sourceStream = stream
	}
	return sourceStream, id, err
}
