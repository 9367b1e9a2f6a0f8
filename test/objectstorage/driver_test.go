//go:build component

package objectstorage

import (
	"flag"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/store"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/testsuites"
)

// The test suite that the storage engine has for its drivers, through the layer that the
// registry puts around them.
func TestDriverSuite(t *testing.T) {
	must(t, flag.Set("test.short", "true")) // leaves out one file of 5 GiB
	t.Cleanup(func() { _ = flag.Set("test.short", "false") })
	s3 := startS3(t)
	testsuites.Driver(t, func() (driver.StorageDriver, error) {
		opened, err := store.OpenDriver(t.Context(), "s3", s3.parameters("rootdirectory", "/below"), nil)
		if err != nil {
			return nil, err
		}
		return store.Observe(opened, store.ObserveOptions{Place: "here", Limit: time.Minute}), nil
	}, false)
}
