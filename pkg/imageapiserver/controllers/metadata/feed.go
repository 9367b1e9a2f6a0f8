package metadata

import (
	"context"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/storage/feed"
)

// follow calls found with the name of each Image that is incomplete, now and later, until the context ends. It
// keeps no Images: of those that are read, only the name and the answer are passed on.
func follow(ctx context.Context, images Images, found func(name string)) {
	incomplete := func(image *imageapi.Image) (bool, bool) {
		answer := Incomplete(image)
		return answer, answer
	}
	feed.Run(ctx, images, "image-metadata", "Image", incomplete, names(found))
}

// names passes on the names of incomplete Images and keeps nothing.
type names func(name string)

// Put implements feed.Sink.
func (n names) Put(name string, incomplete bool) {
	if incomplete {
		n(name)
	}
}

// Delete implements feed.Sink.
func (names) Delete(string) {}

// Replace implements feed.Sink.
func (n names) Replace(incomplete map[string]bool) {
	for name := range incomplete {
		n(name)
	}
}
