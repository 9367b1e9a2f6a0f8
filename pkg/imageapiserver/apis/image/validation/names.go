// Package validation checks objects of the image API group: names, references,
// tags, images and streams.
//
// In: internal objects, after defaulting and preparation by a strategy. Out:
// lists of field errors, which become one 422 answer with a cause for each
// field, or, for names that cannot be split, an error that becomes a 400.
//
// It is pure: it reads no store, asks nobody and changes no object. Checks
// that need more (who may copy from where, what exists) are in the strategies.
package validation

import (
	"fmt"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/api/validation/path"
)

// MaxRepositoryLength is the longest "<namespace>/<name>" of a stream.
const MaxRepositoryLength = 255

var (
	streamNamePattern = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)
	tagPattern        = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	digestPattern     = regexp.MustCompile(`^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}$`)
	mediaTypePattern  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$`)
)

// digestLengths are the hex lengths of the algorithms whose length is known.
var digestLengths = map[string]int{"sha256": 64, "sha384": 96, "sha512": 128}

// IsTag tells whether text is a tag.
func IsTag(text string) bool { return tagPattern.MatchString(text) }

// IsDigest tells whether text is a well-formed digest.
func IsDigest(text string) bool {
	if !digestPattern.MatchString(text) {
		return false
	}
	algorithm, hex, _ := strings.Cut(text, ":")
	length, known := digestLengths[algorithm]
	return !known || len(hex) == length && strings.ToLower(hex) == hex
}

// StreamName is the name check of ImageStreams.
func StreamName(name string, prefix bool) []string {
	problems := path.ValidatePathSegmentName(name, prefix)
	if !streamNamePattern.MatchString(name) {
		problems = append(problems, "must be lower-case letters and digits, with single '.', '_', '__' or dashes between them")
	}
	return problems
}

// ImageName is the name check of Images.
func ImageName(name string, prefix bool) []string {
	return path.ValidatePathSegmentName(name, prefix)
}

// SplitStreamTag splits the name of an ImageStreamTag into stream and tag.
func SplitStreamTag(name string) (stream, tag string, err error) {
	stream, tag, found := strings.Cut(name, ":")
	if !found || stream == "" || tag == "" || strings.ContainsAny(tag, ":@") || strings.Contains(stream, "@") {
		return "", "", fmt.Errorf("%q must have the form <name>:<tag>", name)
	}
	return stream, tag, nil
}

// SplitStreamImage splits the name of an ImageStreamImage into stream and id.
func SplitStreamImage(name string) (stream, id string, err error) {
	stream, id, found := strings.Cut(name, "@")
	if !found || stream == "" || id == "" || strings.Contains(id, "@") {
		return "", "", fmt.Errorf("%q must have the form <name>@<id>", name)
	}
	return stream, id, nil
}

// SplitTagSource splits the name of an ImageStreamTag source in the spec of
// stream: "<tag>" of the same stream or "<stream>:<tag>".
func SplitTagSource(stream, source string) (sourceStream, tag string, err error) {
	left, right, found := strings.Cut(source, ":")
	if !found {
		left, right = stream, source
	}
	if right == "" {
		right = "latest"
	}
	if left == "" || strings.ContainsAny(right, ":@") || strings.Contains(left, "@") {
		return "", "", fmt.Errorf("%q must have the form <tag> or <name>:<tag>", source)
	}
	return left, right, nil
}

// SplitImageSource splits the name of an ImageStreamImage source in the spec
// of stream: "<id>" of the same stream or "<stream>@<id>".
func SplitImageSource(stream, source string) (sourceStream, id string, err error) {
	left, right, found := strings.Cut(source, "@")
	if !found {
		left, right = stream, source
	}
	if left == "" || right == "" || strings.Contains(right, "@") {
		return "", "", fmt.Errorf("%q must have the form <id> or <name>@<id>", source)
	}
	return left, right, nil
}
