package app

import (
	"context"
	"fmt"

	"image.alauda.io/registry/pkg/registry/config"
)

// runList lists what the storage holds.
func runList(_ context.Context, _ *config.Config, _ *modes, _ output) error {
	return fmt.Errorf("%w: listing is not in this version", errUsage)
}
