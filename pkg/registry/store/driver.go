package store

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
	storagemiddleware "github.com/distribution/distribution/v3/registry/storage/driver/middleware"

	// Drivers and middleware register themselves by being imported.
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/middleware/cloudfront"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/middleware/redirect"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/middleware/rewrite"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/s3-aws"
)

// idleConnections is how many connections to an object store are kept. With the two of
// net/http nearly every request of a busy registry would open its own, with a handshake.
const idleConnections = 128

// keepConnections is done once, before a driver uses the transport: the S3 client has no
// other way to be told.
var keepConnections = sync.OnceFunc(func() {
	if transport, ok := http.DefaultTransport.(*http.Transport); ok {
		transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 2*idleConnections, idleConnections
	}
})

// OpenDriver creates a storage driver with its configured middleware, in order. The
// parameters are passed to it as they are; nothing is asked yet.
func OpenDriver(ctx context.Context, name string, parameters configuration.Parameters, middleware []configuration.Middleware) (driver.StorageDriver, error) {
	if parameters == nil {
		parameters = configuration.Parameters{}
	}
	keepConnections()
	opened, err := factory.Create(ctx, name, parameters)
	if err != nil {
		return nil, fmt.Errorf("storage.%s: %w", name, err)
	}
	for _, entry := range middleware {
		if entry.Disabled {
			continue
		}
		if opened, err = storagemiddleware.Get(ctx, entry.Name, entry.Options, opened); err != nil {
			return nil, fmt.Errorf("middleware.storage %s: %w", entry.Name, err)
		}
	}
	if name == filesystemDriver {
		return &directories{opened, fileSystemRoot(parameters)}, nil
	}
	return opened, nil
}

// fileSystemRoot is where the driver of a file system puts everything.
func fileSystemRoot(parameters configuration.Parameters) string {
	if root, found := parameters["rootdirectory"]; found {
		return fmt.Sprint(root)
	}
	return "/var/lib/registry"
}
