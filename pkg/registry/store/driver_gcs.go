//go:build !registry_no_gcs

package store

import (
	// The driver registers itself by being imported.
	_ "github.com/distribution/distribution/v3/registry/storage/driver/gcs"
)
