package image

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

const (
	// maxJSONSize and maxStoredSize limit one image: as JSON, and compressed
	// as it is stored. Beyond them the cluster's store fails in words of its
	// own, as if the server were at fault.
	maxJSONSize   = 6 << 20
	maxStoredSize = 1 << 20
)

// Sizer returns the size of an image as JSON and as it will be stored.
type Sizer func(image *imageapi.Image) (jsonSize, storedSize int, err error)

func (r *REST) sizedCreate(next rest.ValidateObjectFunc) rest.ValidateObjectFunc {
	return func(ctx context.Context, obj runtime.Object) error {
		if next != nil {
			if err := next(ctx, obj); err != nil {
				return err
			}
		}
		_, err := r.checkSize(obj.(*imageapi.Image))
		return err
	}
}

// sizedUpdate refuses what becomes too large. What is too large already, in a
// store that took it, can still be annotated and cleaned up.
func (r *REST) sizedUpdate(next rest.ValidateObjectUpdateFunc) rest.ValidateObjectUpdateFunc {
	return func(ctx context.Context, obj, old runtime.Object) error {
		if next != nil {
			if err := next(ctx, obj, old); err != nil {
				return err
			}
		}
		tooLarge, err := r.checkSize(obj.(*imageapi.Image))
		if !tooLarge {
			return err
		}
		if wasTooLarge, _ := r.checkSize(old.(*imageapi.Image)); wasTooLarge {
			return nil
		}
		return err
	}
}

// checkSize tells whether an image is too large, with the answer for the
// client.
func (r *REST) checkSize(image *imageapi.Image) (tooLarge bool, err error) {
	jsonSize, storedSize, err := r.size(image)
	if err != nil {
		return false, fmt.Errorf("image %s: %w", image.Name, err)
	}
	if jsonSize <= maxJSONSize && storedSize <= maxStoredSize {
		return false, nil
	}
	return true, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf(
		"image %s is too large to store (%d bytes, %d as stored; at most %d and %d): leave out its manifest and config, or shorten its metadata",
		image.Name, jsonSize, storedSize, maxJSONSize, maxStoredSize))
}
