//go:build !registry_no_azure

package store

import (
	// The driver registers itself by being imported.
	_ "github.com/distribution/distribution/v3/registry/storage/driver/azure"
)
