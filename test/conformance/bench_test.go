package conformance

import (
	"testing"

	"image.alauda.io/registry/pkg/registry/store"

	"github.com/distribution/distribution/v3/configuration"
)

// BenchmarkBlobGETFromDisk is BenchmarkBlobGET with the filesystem driver.
func BenchmarkBlobGETFromDisk(b *testing.B) {
	for name, size := range map[string]int{"1KiB": 1 << 10, "1MiB": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			disk, err := store.OpenDriver(b.Context(), "filesystem", configuration.Parameters{"rootdirectory": b.TempDir()}, nil)
			if err != nil {
				b.Fatal(err)
			}
			benchmarkBlob(b, startOn(b, disk), make([]byte, size))
		})
	}
}
