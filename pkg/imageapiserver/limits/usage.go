package limits

import (
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// Usage is what one stream counts.
type Usage struct {
	// Images are the digests in the history of its tags.
	Images map[string]bool
	// Tags are the names of tags in its spec, or with a history.
	Tags map[string]bool
}

// UsageOf counts a stream; nil counts nothing.
func UsageOf(stream *imageapi.ImageStream) Usage {
	usage := Usage{Images: map[string]bool{}, Tags: map[string]bool{}}
	if stream == nil {
		return usage
	}
	for tag := range stream.Spec.Tags {
		usage.Tags[tag] = true
	}
	for tag, list := range stream.Status.Tags {
		if len(list.Items) > 0 {
			usage.Tags[tag] = true
		}
		for _, event := range list.Items {
			if event.Image != "" {
				usage.Images[event.Image] = true
			}
		}
	}
	return usage
}

// Without returns the members of all that are not in some, in no order.
func Without(all, some map[string]bool) []string {
	var rest []string
	for member := range all {
		if !some[member] {
			rest = append(rest, member)
		}
	}
	return rest
}

// addsTo tells whether u has anything that old does not have.
func (u Usage) addsTo(old Usage) bool {
	return len(Without(u.Images, old.Images)) > 0 || len(Without(u.Tags, old.Tags)) > 0
}
