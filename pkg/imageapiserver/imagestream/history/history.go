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
			// The time of an event may prove what was there when it was
			// made, so a reference never takes over a younger time.
			if (!sameImage || !sameReference) && event.Created.Before(&head.Created) {
				head.Created = event.Created
			}
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
// tag takes what the first moved tag before it in its chain has. A cycle ends
// where it began. A tag that lost its events moves nobody.
//
// Every tag is visited once: a user decides how many tags there are and how
// long their chains.
func Track(stream, old *imageapi.ImageStream, limit int) {
	sources := sourcesOf(stream)
	trackers := map[string][]string{}
	for tracker, source := range sources {
		trackers[source] = append(trackers[source], tracker)
	}
	visited := map[string]bool{}
	for _, root := range rootsOf(stream, old, sources) {
		// handing tells that the tag, or one before it, has moved.
		type step struct {
			tag     string
			handing bool
		}
		for queue := []step{{root, moved(stream, old, root)}}; len(queue) > 0; {
			current := queue[0]
			queue = queue[1:]
			if visited[current.tag] {
				continue
			}
			visited[current.tag] = true
			for _, tracker := range trackers[current.tag] {
				if visited[tracker] {
					continue
				}
				next := step{tracker, current.handing || moved(stream, old, tracker)}
				if current.handing {
					head, _ := Head(stream, current.tag)
					Add(stream, tracker, head, limit)
				}
				queue = append(queue, next)
			}
		}
	}
}

// moved tells whether the head of a tag differs from the one it had.
func moved(stream, old *imageapi.ImageStream, tag string) bool {
	head, found := Head(stream, tag)
	before, existed := Head(old, tag)
	return found && (!existed || !sameEvent(head, before))
}

// rootsOf returns the tags from which all chains of tracking tags begin, and
// of each cycle the tag from which its heads go round: the first that moved.
func rootsOf(stream, old *imageapi.ImageStream, sources map[string]string) []string {
	var roots []string
	seen := map[string]bool{}
	tags := make([]string, 0, len(sources))
	for tracker := range sources {
		tags = append(tags, tracker)
	}
	sort.Strings(tags)
	for _, tag := range tags {
		var path []string
		position := map[string]int{}
		for !seen[tag] {
			seen[tag] = true
			position[tag] = len(path)
			path = append(path, tag)
			source, tracks := sources[tag]
			if !tracks {
				roots = append(roots, tag)
				break
			}
			tag = source
		}
		if start, again := position[tag]; again && sources[tag] != "" {
			cycle := slices.Sorted(slices.Values(path[start:]))
			first := slices.IndexFunc(cycle, func(tag string) bool { return moved(stream, old, tag) })
			roots = append(roots, cycle[max(first, 0)])
		}
	}
	return roots
}

// sourcesOf returns, for each spec tag that tracks a tag of the same stream,
// that tag.
func sourcesOf(stream *imageapi.ImageStream) map[string]string {
	sources := map[string]string{}
	for name, tag := range stream.Spec.Tags {
		if tag.From == nil || tag.From.Kind != "ImageStreamTag" {
			continue
		}
		if tag.From.Namespace != "" && tag.From.Namespace != stream.Namespace {
			continue
		}
		sourceStream, sourceTag, err := validation.SplitTagSource(stream.Name, tag.From.Name)
		if err != nil || sourceStream != stream.Name || sourceTag == name {
			continue
		}
		sources[name] = sourceTag
	}
	return sources
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
