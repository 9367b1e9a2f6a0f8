package explain

import (
	"fmt"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"image.alauda.io/registry/pkg/pruner/snapshot"
)

// Target is what somebody asks about: an image by its digest, or what a tag or digest of a stream means.
type Target struct {
	// Stream is "namespace/name"; empty if the image is asked about wherever it is.
	Stream string
	Tag    string
	Digest string
}

// ParseTarget reads <digest>, <namespace>/<name>:<tag> or <namespace>/<name>@<digest>.
func ParseTarget(text string) (Target, error) {
	wanted := fmt.Errorf("%q is neither a digest nor of the form namespace/name:tag or namespace/name@digest", text)
	if !strings.Contains(text, "/") {
		if _, err := digest.Parse(text); err != nil {
			return Target{}, wanted
		}
		return Target{Digest: text}, nil
	}
	var target Target
	if stream, id, found := strings.Cut(text, "@"); found {
		if _, err := digest.Parse(id); err != nil {
			return Target{}, wanted
		}
		target = Target{Stream: stream, Digest: id}
	} else {
		stream, tag, found := strings.Cut(text, ":")
		if !found || reference.TagRegexp.FindString(tag) != tag || tag == "" {
			return Target{}, wanted
		}
		target = Target{Stream: stream, Tag: tag}
	}
	namespace, name, _ := strings.Cut(target.Stream, "/")
	if namespace == "" || name == "" || strings.Contains(name, "/") {
		return Target{}, wanted
	}
	return target, nil
}

// resolve returns the digest that is meant.
func (t Target) resolve(snap *snapshot.Snapshot) (string, error) {
	if t.Stream == "" {
		if _, known := snap.Images[t.Digest]; known || namedAnywhere(snap, t.Digest) {
			return t.Digest, nil
		}
		return "", fmt.Errorf("there is no Image %s, and no stream names it", t.Digest)
	}
	for _, stream := range snap.Streams {
		if stream.Key() == t.Stream {
			return t.inStream(stream)
		}
	}
	return "", fmt.Errorf("there is no ImageStream %s", t.Stream)
}

func (t Target) inStream(stream snapshot.Stream) (string, error) {
	for _, tag := range stream.Tags {
		if t.Tag != "" && tag.Name == t.Tag && len(tag.Revisions) > 0 && tag.Revisions[0].Digest != "" {
			return tag.Revisions[0].Digest, nil
		}
		for _, revision := range tag.Revisions {
			if t.Digest != "" && revision.Digest == t.Digest {
				return t.Digest, nil
			}
		}
	}
	if t.Tag != "" {
		return "", fmt.Errorf("ImageStream %s has no image under the tag %s", t.Stream, t.Tag)
	}
	return "", fmt.Errorf("ImageStream %s does not name %s; ask about the digest alone", t.Stream, t.Digest)
}

func namedAnywhere(snap *snapshot.Snapshot, id string) bool {
	for _, stream := range snap.Streams {
		for _, tag := range stream.Tags {
			for _, revision := range tag.Revisions {
				if revision.Digest == id {
					return true
				}
			}
		}
	}
	return false
}
