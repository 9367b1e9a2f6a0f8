package image

import (
	"time"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// Described returns a copy of an image as it will be stored: with what its raw
// manifest and config tell. What cannot be read is left as it was sent.
func Described(image *imageapi.Image, now time.Time) *imageapi.Image {
	described := image.DeepCopy()
	if err := complete(described, now); err != nil {
		return image.DeepCopy()
	}
	return described
}
