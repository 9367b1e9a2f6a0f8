package streams

import (
	"slices"
	"strings"

	imagev1 "image.alauda.io/api/image/v1"
)

// version says which state of which stream something is: a stream that was deleted and
// created again under its name is another one.
type version struct {
	uid, resource string
}

// View is what requests need of one stream. It is shared: nothing of it may be changed.
type View struct {
	version version
	// stream is the ImageStream without everything that nobody asks for, its tags sorted.
	stream *imagev1.ImageStream
	tags   []string
	// images are the digests of all histories, sorted.
	images []string
	bytes  int64
}

// Stream is the ImageStream as far as this registry needs it: the annotation about
// insecure sources, which tags are insecure, the names by which the stream knows this
// registry, and the tags that have a history with digest and reference of each item.
func (v *View) Stream() *imagev1.ImageStream { return v.stream }

// Tags are the tags that have a history, byte-sorted.
func (v *View) Tags() []string { return v.tags }

// Image is what a tag shows now, as the image API says it.
func (v *View) Image(tag string) (string, bool) {
	at, found := slices.BinarySearch(v.tags, tag)
	if !found {
		return "", false
	}
	return v.stream.Status.Tags[at].Items[0].Image, true
}

// Names tells whether any item of any tag is the digest.
func (v *View) Names(digest string) bool {
	_, found := slices.BinarySearch(v.images, digest)
	return found
}

// Sizes of what a view holds, in bytes: of structures with their share of an allocation.
const (
	viewBytes    = 2048
	specTagBytes = 160
	tagBytes     = 128
	itemBytes    = 96
)

// newView takes from a stream what requests need.
func newView(full *imagev1.ImageStream) *View {
	stream := &imagev1.ImageStream{}
	stream.Namespace, stream.Name = full.Namespace, full.Name
	stream.UID, stream.ResourceVersion = full.UID, full.ResourceVersion
	if text, found := full.Annotations[imagev1.InsecureRepositoryAnnotation]; found {
		stream.Annotations = map[string]string{imagev1.InsecureRepositoryAnnotation: text}
	}
	stream.Status.DockerImageRepository = full.Status.DockerImageRepository
	stream.Status.PublicDockerImageRepository = full.Status.PublicDockerImageRepository
	v := &View{version: version{string(full.UID), full.ResourceVersion}, stream: stream, bytes: viewBytes}
	for _, tag := range full.Spec.Tags {
		if tag.ImportPolicy.Insecure {
			stream.Spec.Tags = append(stream.Spec.Tags, imagev1.TagReference{Name: tag.Name, ImportPolicy: imagev1.TagImportPolicy{Insecure: true}})
			v.bytes += specTagBytes + int64(len(tag.Name))
		}
	}
	stream.Status.Tags = make([]imagev1.NamedTagEventList, 0, len(full.Status.Tags))
	for _, list := range full.Status.Tags {
		if len(list.Items) > 0 {
			stream.Status.Tags = append(stream.Status.Tags, v.history(list))
		}
	}
	slices.SortFunc(stream.Status.Tags, func(a, b imagev1.NamedTagEventList) int { return strings.Compare(a.Tag, b.Tag) })
	v.tags = make([]string, 0, len(stream.Status.Tags))
	for _, list := range stream.Status.Tags {
		v.tags = append(v.tags, list.Tag)
	}
	slices.Sort(v.images)
	v.images = slices.Clone(slices.Compact(v.images))
	return v
}

// history keeps digests and references. Most references end in the digest and lend it
// their memory.
func (v *View) history(list imagev1.NamedTagEventList) imagev1.NamedTagEventList {
	kept := imagev1.NamedTagEventList{Tag: list.Tag, Items: make([]imagev1.TagEvent, 0, len(list.Items))}
	v.bytes += tagBytes + int64(len(list.Tag))
	for _, item := range list.Items {
		image := item.Image
		if before, found := strings.CutSuffix(item.DockerImageReference, image); found {
			image = item.DockerImageReference[len(before):]
		} else {
			v.bytes += int64(len(image))
		}
		v.bytes += itemBytes + int64(len(item.DockerImageReference))
		kept.Items = append(kept.Items, imagev1.TagEvent{Image: image, DockerImageReference: item.DockerImageReference})
		v.images = append(v.images, image)
	}
	return kept
}
