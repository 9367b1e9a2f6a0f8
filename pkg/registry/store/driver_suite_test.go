package store_test

import (
	"flag"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/store"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/testsuites"
)

// The test suite that the engine has for its drivers, through the layers that the registry
// puts around them. The redirect middleware adds no addresses here, because a file system
// has none to give.
func TestDriverSuiteOnAFileSystem(t *testing.T) {
	if err := flag.Set("test.short", "true"); err != nil { // leaves out one file of 5 GiB
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set("test.short", "false") })
	root := t.TempDir()
	testsuites.Driver(t, func() (driver.StorageDriver, error) {
		opened, err := store.OpenDriver(t.Context(), "filesystem", configuration.Parameters{"rootdirectory": root},
			[]configuration.Middleware{{Name: "rewrite", Options: configuration.Parameters{}}, {Name: "redirect", Disabled: true}})
		if err != nil {
			return nil, err
		}
		return store.Observe(opened, store.ObserveOptions{Limit: time.Minute, Place: "directory " + root}), nil
	}, false)
}
