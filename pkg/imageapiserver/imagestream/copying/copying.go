// Package copying decides what a stream records when it takes over an image
// that a stream of this registry contains: which pull spec, and which time.
//
// In: the source stream with its contents, the digest, and the stream that
// takes it over. Out: an event, or the answer that the source does not contain
// the image.
//
// What is local to the source becomes local to the target, anything else keeps
// the reference that it has: an import stays an import however often it is
// copied. The event of an index proves that its children were there when it
// was made, so a copy is never younger than what the source proves.
//
// It asks nobody for rights and reads no store: callers did both.
package copying

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/history"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
)

// Copy is an image to take over.
type Copy struct {
	// Source contains the image.
	Source *imageapi.ImageStream
	// Contents are the layers of Source.
	Contents *imageapi.ImageStreamLayers
	// Digest names the image.
	Digest string
	// Namespace and Name are those of the stream that takes it over.
	Namespace, Name string
	// Hosts are the names of this registry.
	Hosts repository.Hosts
	// Now is the time of the copy.
	Now metav1.Time
}

// Event is what the target records. It has no generation. local tells that the
// content is local to the source, and so to the target. found is false when
// the source does not contain the image, or contains it only below an index
// that proves nothing about it.
func (c Copy) Event() (event imageapi.TagEvent, local, found bool) {
	event = imageapi.TagEvent{Created: c.Now, Image: c.Digest}
	entry, contained := c.Contents.Images[c.Digest]
	if !contained || entry.ImageMissing {
		return event, false, false
	}
	if entry.Local {
		spec, ok := c.Hosts.PullSpec(c.Namespace, c.Name, c.Digest)
		event.DockerImageReference = spec
		// The source may be ahead by the clock of another replica.
		if since := c.since(); since.After(c.Now.Time) || !c.wholeIsLocal(c.Digest, map[string]bool{}) {
			event.Created = since
		}
		return event, ok, ok
	}
	var newest imageapi.TagEvent
	history.EventsOf(c.Source, c.Digest, func(_ string, event imageapi.TagEvent) {
		if newest.Image == "" || event.Created.After(newest.Created.Time) {
			newest = event
		}
	})
	event.DockerImageReference = newest.DockerImageReference
	return event, false, event.DockerImageReference != ""
}

// wholeIsLocal tells whether all that is below an image in the source is there
// and local. If it is not, an event of now would prove to the target what the
// source does not prove: that a child which came after the index was there.
func (c Copy) wholeIsLocal(digest string, seen map[string]bool) bool {
	if seen[digest] {
		return true
	}
	seen[digest] = true
	entry, found := c.Contents.Images[digest]
	if !found || entry.ImageMissing || !entry.Local {
		return false
	}
	for _, child := range entry.Manifests {
		if !c.wholeIsLocal(child, seen) {
			return false
		}
	}
	return true
}

// since is the time of the newest event by which the digest is local to the
// source. Of what is only below an index it is not known by which; then it is
// that of the oldest local event.
func (c Copy) since() metav1.Time {
	var own, oldest metav1.Time
	for _, list := range c.Source.Status.Tags {
		for _, event := range list.Items {
			if event.Image == "" || !c.Hosts.IsLocal(event.DockerImageReference, c.Source.Namespace, c.Source.Name) {
				continue
			}
			if event.Image == c.Digest && event.Created.After(own.Time) {
				own = event.Created
			}
			if oldest.IsZero() || event.Created.Before(&oldest) {
				oldest = event.Created
			}
		}
	}
	if own.IsZero() {
		return oldest
	}
	return own
}
