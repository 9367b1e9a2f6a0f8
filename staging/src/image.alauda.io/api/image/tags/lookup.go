package tags

import (
	"cmp"
	"slices"

	"image.alauda.io/api/image/reference"
	imagev1 "image.alauda.io/api/image/v1"
)

// SpecTag finds a wanted tag, or nil.
func SpecTag(stream *imagev1.ImageStream, tag string) *imagev1.TagReference {
	for i := range stream.Spec.Tags {
		if stream.Spec.Tags[i].Name == tag {
			return &stream.Spec.Tags[i]
		}
	}
	return nil
}

// History finds the history of a tag, or nil.
func History(stream *imagev1.ImageStream, tag string) *imagev1.NamedTagEventList {
	for i := range stream.Status.Tags {
		if stream.Status.Tags[i].Tag == tag {
			return &stream.Status.Tags[i]
		}
	}
	return nil
}

// HasTag tells whether a stream has a tag: it is wanted, or it has an event.
func HasTag(stream *imagev1.ImageStream, tag string) bool {
	return SpecTag(stream, tag) != nil || LatestEvent(stream, tag) != nil
}

// Names are the tags of a stream, wanted or with an event, sorted. Their number
// is what quotas of tags count.
func Names(stream *imagev1.ImageStream) []string {
	var names []string
	for i := range stream.Spec.Tags {
		names = append(names, stream.Spec.Tags[i].Name)
	}
	for i := range stream.Status.Tags {
		if len(stream.Status.Tags[i].Items) > 0 {
			names = append(names, stream.Status.Tags[i].Tag)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// LatestEvent is the head of a tag's history, or nil. An empty tag means latest.
func LatestEvent(stream *imagev1.ImageStream, tag string) *imagev1.TagEvent {
	if tag == "" {
		tag = imagev1.DefaultImageTag
	}
	list := History(stream, tag)
	if list == nil || len(list.Items) == 0 {
		return nil
	}
	return &list.Items[0]
}

// NewestFirst are the tags that have an event, that with the newest head first.
// Heads of the same time are sorted by name.
func NewestFirst(stream *imagev1.ImageStream) []string {
	var heads []*imagev1.NamedTagEventList
	for i := range stream.Status.Tags {
		if len(stream.Status.Tags[i].Items) > 0 {
			heads = append(heads, &stream.Status.Tags[i])
		}
	}
	slices.SortStableFunc(heads, func(a, b *imagev1.NamedTagEventList) int {
		return cmp.Or(
			b.Items[0].Created.Time.Compare(a.Items[0].Created.Time),
			cmp.Compare(a.Tag, b.Tag),
		)
	})
	names := make([]string, 0, len(heads))
	for _, list := range heads {
		names = append(names, list.Tag)
	}
	return names
}

// Digests are the distinct images that a stream's histories name, sorted. Their
// number is what quotas of images count.
func Digests(stream *imagev1.ImageStream) []string {
	var digests []string
	for i := range stream.Status.Tags {
		for _, event := range stream.Status.Tags[i].Items {
			if event.Image != "" {
				digests = append(digests, event.Image)
			}
		}
	}
	slices.Sort(digests)
	return slices.Compact(digests)
}

// EventForImage finds the newest event whose image has the id, which may be the
// beginning of a digest. It returns nil if there is none, and a
// *reference.AmbiguousIDError if the id fits several images.
func EventForImage(stream *imagev1.ImageStream, id string) (*imagev1.TagEvent, error) {
	digest, err := reference.MatchID(id, Digests(stream))
	if err != nil || digest == "" {
		return nil, err
	}
	var newest *imagev1.TagEvent
	for i := range stream.Status.Tags {
		for j := range stream.Status.Tags[i].Items {
			event := &stream.Status.Tags[i].Items[j]
			if event.Image == digest && (newest == nil || newest.Created.Before(&event.Created)) {
				newest = event
			}
		}
	}
	return newest, nil
}

// PullSpec is the pull spec that a tag gives to other resources, and false if
// the tag has no event. With the reference policy Local it points to this
// registry, by digest; without a digest, and with the policy Source, it is the
// reference of the newest event.
func PullSpec(stream *imagev1.ImageStream, tag string) (string, bool) {
	if tag == "" {
		tag = imagev1.DefaultImageTag
	}
	event := LatestEvent(stream, tag)
	if event == nil {
		return "", false
	}
	spec := SpecTag(stream, tag)
	repository := stream.Status.DockerImageRepository
	if spec == nil || spec.ReferencePolicy.Type != imagev1.LocalTagReferencePolicy || repository == "" {
		return event.DockerImageReference, true
	}
	if reference.ValidateDigest(event.Image) != nil {
		// This registry cannot serve what it has no image of.
		return event.DockerImageReference, true
	}
	return repository + "@" + event.Image, true
}
