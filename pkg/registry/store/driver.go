package store

import (
	"context"
	"fmt"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
	storagemiddleware "github.com/distribution/distribution/v3/registry/storage/driver/middleware"

	// Drivers and middleware register themselves by being imported.
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/middleware/redirect"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/middleware/rewrite"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/s3-aws"
)

// OpenDriver creates a storage driver with its configured middleware. The parameters
// are passed to it as they are.
func OpenDriver(ctx context.Context, name string, parameters configuration.Parameters, middleware []configuration.Middleware) (driver.StorageDriver, error) {
	if parameters == nil {
		parameters = configuration.Parameters{}
	}
	opened, err := factory.Create(ctx, name, parameters)
	if err != nil {
		return nil, fmt.Errorf("storage driver %s: %w", name, err)
	}
	for _, entry := range middleware {
		if entry.Disabled {
			continue
		}
		if opened, err = storagemiddleware.Get(ctx, entry.Name, entry.Options, opened); err != nil {
			return nil, fmt.Errorf("storage middleware %s: %w", entry.Name, err)
		}
	}
	return opened, nil
}
