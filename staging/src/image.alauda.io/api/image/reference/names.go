package reference

import (
	"fmt"
	"slices"
	"strings"
)

// ValidateStreamName tells why a stream of that namespace cannot have that
// name. The namespace itself is not checked.
func ValidateStreamName(namespace, name string) error {
	if name == "" {
		return invalid("the name is empty")
	}
	if err := validateComponent(name); err != nil {
		return err
	}
	if len(namespace)+1+len(name) > MaxRepositoryLength {
		return invalid("namespace and name together are longer than %d characters", MaxRepositoryLength)
	}
	return nil
}

// SplitStreamTag splits "<stream>:<tag>", the name of an ImageStreamTag or an
// ImageTag.
func SplitStreamTag(name string) (stream, tag string, err error) {
	stream, tag, found := strings.Cut(name, ":")
	if !found || stream == "" || tag == "" || strings.ContainsAny(tag, ":@") || strings.Contains(stream, "@") {
		return "", "", invalid("%q must be of the form <name>:<tag>", name)
	}
	return stream, tag, nil
}

// JoinStreamTag is the name of an ImageStreamTag. An empty tag means latest.
func JoinStreamTag(stream, tag string) string {
	if tag == "" {
		tag = DefaultTag
	}
	return stream + ":" + tag
}

// SplitStreamImage splits "<stream>@<id>", the name of an ImageStreamImage. The
// id may be the beginning of a digest.
func SplitStreamImage(name string) (stream, id string, err error) {
	return splitAt(name, "<name>@<id>")
}

// JoinStreamImage is the name of an ImageStreamImage.
func JoinStreamImage(stream, id string) string { return stream + "@" + id }

// SplitSignature splits "<image>@<signature>", the name of an ImageSignature.
func SplitSignature(name string) (image, signature string, err error) {
	return splitAt(name, "<image>@<signature>")
}

func splitAt(name, form string) (before, after string, err error) {
	before, after, found := strings.Cut(name, "@")
	if !found || before == "" || after == "" || strings.Contains(after, "@") {
		return "", "", invalid("%q must be of the form %s", name, form)
	}
	return before, after, nil
}

// SplitTagSource splits from.name of an ImageStreamTag source: "<tag>" of the
// stream itself (stream comes back empty) or "<stream>:<tag>". An empty tag
// means latest.
func SplitTagSource(name string) (stream, tag string, err error) {
	stream, tag, found := strings.Cut(name, ":")
	if !found {
		stream, tag = "", stream
	}
	if (found && stream == "") || strings.ContainsAny(tag, ":@") || strings.Contains(stream, "@") {
		return "", "", invalid("%q must be of the form <tag> or <stream>:<tag>", name)
	}
	if tag == "" {
		tag = DefaultTag
	}
	return stream, tag, nil
}

// SplitImageSource splits from.name of an ImageStreamImage source: "<id>" of
// the stream itself (stream comes back empty) or "<stream>@<id>".
func SplitImageSource(name string) (stream, id string, err error) {
	before, after, found := strings.Cut(name, "@")
	if !found {
		before, after = "", before
	}
	if (found && before == "") || after == "" || strings.Contains(after, "@") {
		return "", "", invalid("%q must be of the form <id> or <stream>@<id>", name)
	}
	return before, after, nil
}

// AmbiguousIDError says that an id is the beginning of several digests.
type AmbiguousIDError struct {
	// ID is what was asked for.
	ID string
	// Candidates are the digests that match, sorted.
	Candidates []string
}

// maxNamedCandidates bounds the length of the text: a short id may fit all
// images of a large stream.
const maxNamedCandidates = 10

// Error names the first candidates, and how many more there are.
func (e *AmbiguousIDError) Error() string {
	named := e.Candidates
	rest := ""
	if more := len(named) - maxNamedCandidates; more > 0 {
		named, rest = named[:maxNamedCandidates], fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("id %q matches several images: %s%s", e.ID, strings.Join(named, ", "), rest)
}

// MatchID finds the one digest that begins with id, with or without its
// algorithm. It returns "" if none does, and an *AmbiguousIDError if several
// do. An exact match wins. Digests may repeat.
func MatchID(id string, digests []string) (string, error) {
	if id == "" {
		return "", nil
	}
	var matches []string
	for _, digest := range digests {
		if digest == id {
			return digest, nil
		}
		_, hex, _ := strings.Cut(digest, ":")
		if digest != "" && (strings.HasPrefix(digest, id) || strings.HasPrefix(hex, id)) {
			matches = append(matches, digest)
		}
	}
	slices.Sort(matches)
	matches = slices.Compact(matches)
	switch len(matches) {
	case 0:
		return "", nil
	case 1:
		return matches[0], nil
	}
	return "", &AmbiguousIDError{ID: id, Candidates: matches}
}
