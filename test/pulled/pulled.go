// Package pulled reads images as a container runtime does: completely.
//
// In comes an image of the client library, which fetches when it is asked; out comes nil when
// config and layers arrived and each has the digest that the manifest names. Tests use it
// where pulling is what they show, also after other clients, which may keep layers of an
// earlier pull. It stores nothing and looks at no platform.
package pulled

import (
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Verify reads config and layers of an image.
func Verify(image v1.Image) error {
	if _, err := image.RawConfigFile(); err != nil { // verified by its digest, too
		return fmt.Errorf("config: %w", err)
	}
	layers, err := image.Layers()
	if err != nil {
		return fmt.Errorf("layers: %w", err)
	}
	for i, layer := range layers {
		content, err := layer.Compressed() // verifies the digest while it is read
		if err == nil {
			_, err = io.Copy(io.Discard, content)
			err = errors.Join(err, content.Close())
		}
		if err != nil {
			return fmt.Errorf("layer %d of %d: %w", i+1, len(layers), err)
		}
	}
	return nil
}
