package tags

import (
	"strings"

	"image.alauda.io/api/image/reference"
)

// Pinned is a pull spec with the digest in place of its tag. A pull spec that
// has a digest, or that cannot be read, stays as it is.
func Pinned(pullSpec, digest string) string {
	if reference.ValidateDigest(digest) != nil {
		return pullSpec
	}
	parsed, err := reference.Parse(pullSpec)
	if err != nil || parsed.ID != "" || parsed.Name == "" {
		return pullSpec
	}
	parsed.Tag, parsed.ID = "", digest
	return parsed.Exact()
}

// LocalName splits an image name of a single segment, "name" or "name:tag",
// which a stream of the namespace may stand for. The tag is never empty. A dot
// in the name is no sign of a registry here: container runtimes take such a name
// for a repository of Docker Hub.
func LocalName(image string) (stream, tag string, ok bool) {
	if strings.ContainsAny(image, "/@") {
		return "", "", false
	}
	return splitLast(image)
}

// LastName splits the last segment of any image name without digest: the stream
// and the tag that the annotation imagev1.ResolveNamesAnnotation asks to try.
func LastName(image string) (stream, tag string, ok bool) {
	if strings.Contains(image, "@") {
		return "", "", false
	}
	return splitLast(image[strings.LastIndexByte(image, '/')+1:])
}

func splitLast(text string) (stream, tag string, ok bool) {
	stream, tag, tagged := strings.Cut(text, ":")
	if !tagged {
		tag = reference.DefaultTag
	}
	if reference.ValidateStreamName("", stream) != nil || reference.ValidateTag(tag) != nil {
		return "", "", false
	}
	return stream, tag, true
}
