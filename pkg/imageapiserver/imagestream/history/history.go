// Package history holds the only rules by which the history of a tag changes.
//
// In: a stream and an event to record, or a stream before and after a change.
// Out: the same stream with its status.tags changed. Recording an event either
// collapses it into the newest one or puts it in front; tags that track
// another tag of the same stream follow it.
//
// Functions are pure: they know neither the time nor any store, and change
// nothing but status.tags of the stream they are given.
package history

import (
	"slices"
	"sort"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/validation"
)

// Head returns the newest event of a tag.
func Head(stream *imageapi.ImageStream, tag string) (imageapi.TagEvent, bool) {
	items := stream.Status.Tags[tag].Items
	if len(items) == 0 {
		return imageapi.TagEvent{}, false
	}
	return items[0], true
}

// Add records event as what tag is now and tells whether anything changed.
// limit is the number of events to keep for the tag, 0 keeps all.
func Add(stream *imageapi.ImageStream, tag string, event imageapi.TagEvent, limit int) bool {
	old := stream.Status.Tags[tag]
	items := slices.Clone(old.Items)
	if len(items) == 0 {
		items = []imageapi.TagEvent{event}
	} else {
		head := &items[0]
		sameImage := head.Image == event.Image
		sameReference := head.DockerImageReference == event.DockerImageReference
		if sameImage && sameReference && head.Generation == event.Generation {
			return false
		}
		if sameImage || sameReference {
			head.Image = event.Image
			head.DockerImageReference = event.DockerImageReference
			head.Generation = event.Generation
		} else {
			items = slices.Insert(items, 0, event)
			if limit > 0 && len(items) > limit {
				items = items[:limit]
			}
		}
	}
	if stream.Status.Tags == nil {
		stream.Status.Tags = map[string]imageapi.TagEventList{}
	}
	// What an earlier import said does not hold for the new state.
	stream.Status.Tags[tag] = imageapi.TagEventList{Items: items}
	return true
}

// Track hands the heads that differ from those in old on to the tags of the
// same stream that track them, and further along chains of tracking tags. A
// cycle ends where it began. A tag that lost its events moves nobody.
func Track(stream, old *imageapi.ImageStream, limit int) {
	var moved []string
	for tag := range stream.Status.Tags {
		head, found := Head(stream, tag)
		if !found {
			continue
		}
		before, existed := Head(old, tag)
		if !existed || !sameEvent(head, before) {
			moved = append(moved, tag)
		}
	}
	sort.Strings(moved)

	trackers := trackersOf(stream)
	for _, start := range moved {
		visited := map[string]bool{start: true}
		queue := []string{start}
		for len(queue) > 0 {
			current := queue[0]
			queue = queue[1:]
			head, _ := Head(stream, current)
			for _, tracker := range trackers[current] {
				if visited[tracker] {
					continue
				}
				visited[tracker] = true
				Add(stream, tracker, head, limit)
				queue = append(queue, tracker)
			}
		}
	}
}

// trackersOf returns, for each tag of the stream, the spec tags that track it.
func trackersOf(stream *imageapi.ImageStream) map[string][]string {
	trackers := map[string][]string{}
	for name, tag := range stream.Spec.Tags {
		if tag.From == nil || tag.From.Kind != "ImageStreamTag" {
			continue
		}
		if tag.From.Namespace != "" && tag.From.Namespace != stream.Namespace {
			continue
		}
		sourceStream, sourceTag, err := validation.SplitTagSource(stream.Name, tag.From.Name)
		if err != nil || sourceStream != stream.Name {
			continue
		}
		trackers[sourceTag] = append(trackers[sourceTag], name)
	}
	for _, names := range trackers {
		sort.Strings(names)
	}
	return trackers
}

func sameEvent(a, b imageapi.TagEvent) bool {
	return a.Created.Equal(&b.Created) && a.DockerImageReference == b.DockerImageReference &&
		a.Image == b.Image && a.Generation == b.Generation
}

// TakenUp returns the digests that the step from old to stream brings into the
// history of a tag or to its head, sorted.
func TakenUp(stream, old *imageapi.ImageStream) []string {
	found := map[string]bool{}
	for tag, list := range stream.Status.Tags {
		before := map[string]bool{}
		for _, event := range old.Status.Tags[tag].Items {
			before[event.Image] = true
		}
		oldHead, _ := Head(old, tag)
		for i, event := range list.Items {
			if event.Image == "" {
				continue
			}
			if !before[event.Image] || i == 0 && event.Image != oldHead.Image {
				found[event.Image] = true
			}
		}
	}
	digests := make([]string, 0, len(found))
	for digest := range found {
		digests = append(digests, digest)
	}
	sort.Strings(digests)
	return digests
}
