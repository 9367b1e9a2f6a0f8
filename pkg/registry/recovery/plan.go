package recovery

import (
	"slices"

	imagev1 "image.alauda.io/api/image/v1"

	"github.com/opencontainers/go-digest"
)

// known is what the image API says about a repository.
type known struct {
	// exists says that there is a stream.
	exists bool
	// tags are the names that are taken: by the spec or by a history.
	tags map[string]bool
	// images are what the stream leads to.
	images map[string]imagev1.ImageBlobReferences
}

func knownOf(stream *imagev1.ImageStream, layers *imagev1.ImageStreamLayers) known {
	k := known{tags: map[string]bool{}}
	if stream != nil {
		k.exists = true
		for _, tag := range stream.Spec.Tags {
			k.tags[tag.Name] = true
		}
		for _, tag := range stream.Status.Tags {
			k.tags[tag.Tag] = true
		}
	}
	if layers != nil {
		k.images = layers.Images
	}
	return k
}

// linked is a manifest that a repository links.
type linked struct {
	digest digest.Digest
	// tags are those that the storage notes for it and that the stream does not have.
	tags []string
	// defect says why it cannot come back; the rest is empty then.
	defect string
	// children are those of an index by canonical digest, subject that of a referrer.
	children []digest.Digest
	subject  digest.Digest
}

// state is how the image API stands to a manifest.
type state int

const (
	inStream     state = iota // nothing is missing
	imageMissing              // the stream leads to it, but there is no Image
	unknown                   // the stream does not lead to it
)

func (k known) state(d digest.Digest) state {
	entry, found := k.images[d.String()]
	switch {
	case !found:
		return unknown
	case entry.ImageMissing:
		return imageMissing
	}
	return inStream
}

// step is what brings a manifest back: its Image, and tags unless it needs none.
type step struct {
	linked
	// invented says that the tag is none that anybody gave.
	invented bool
	// unsure says that an Image without a tag may be what somebody wanted: then nothing is
	// done if there is one.
	unsure bool
}

const inventedPrefix = "lost-found-"

// plan decides what is to be done for the manifests of a repository. A manifest needs no
// tag if it has one, if it belongs to an index that is here, or if it says something about
// a subject that is here. All others would be pruned, so they get one that tells where they
// come from. What needs nothing is left out.
func plan(k known, manifests []linked) []step {
	here, parents := map[digest.Digest]bool{}, map[digest.Digest]bool{}
	for _, m := range manifests {
		here[m.digest] = true
		if m.defect == "" {
			for _, child := range m.children {
				parents[child] = true
			}
		}
	}
	var steps []step
	for _, m := range manifests {
		one := step{linked: m}
		switch state := k.state(m.digest); {
		case m.defect != "":
			if state == inStream {
				continue // the database check tells about it
			}
		case len(m.tags) > 0:
		case state == inStream:
			continue
		case state == imageMissing, parents[m.digest], m.subject != "" && (here[m.subject] || k.state(m.subject) == inStream):
			one.unsure = state == unknown
		default:
			one.unsure = k.exists
			one.invented = true
			one.tags = []string{inventedPrefix + m.digest.Encoded()}
			if k.tags[one.tags[0]] {
				continue
			}
		}
		steps = append(steps, one)
	}
	// What an index consists of comes before the index.
	slices.SortStableFunc(steps, func(a, b step) int { return len(a.children) - len(b.children) })
	return steps
}
