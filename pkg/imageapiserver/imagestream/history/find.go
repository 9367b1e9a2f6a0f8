package history

import (
	"sort"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// Digests returns the distinct digests in the history of all tags, sorted.
func Digests(stream *imageapi.ImageStream) []string {
	seen := map[string]bool{}
	for _, list := range stream.Status.Tags {
		for _, event := range list.Items {
			if event.Image != "" {
				seen[event.Image] = true
			}
		}
	}
	digests := make([]string, 0, len(seen))
	for digest := range seen {
		digests = append(digests, digest)
	}
	sort.Strings(digests)
	return digests
}

// EventsOf calls visit for each event that names digest, in the order of tag
// names and newest first.
func EventsOf(stream *imageapi.ImageStream, digest string, visit func(tag string, event imageapi.TagEvent)) {
	tags := make([]string, 0, len(stream.Status.Tags))
	for tag := range stream.Status.Tags {
		tags = append(tags, tag)
	}
	sort.Strings(tags)
	for _, tag := range tags {
		for _, event := range stream.Status.Tags[tag].Items {
			if event.Image == digest {
				visit(tag, event)
			}
		}
	}
}
