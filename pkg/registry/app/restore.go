package app

import (
	"context"
	"fmt"

	"image.alauda.io/registry/pkg/registry/config"
)

// runRestore compares the storage with the image API.
func runRestore(_ context.Context, _ *config.Config, _ *modes, _ output) error {
	return fmt.Errorf("%w: -%s is not in this version", errUsage, flagRestoreMode)
}
