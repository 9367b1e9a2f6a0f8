package gc

import (
	"context"
	"encoding/binary"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/opencontainers/go-digest"
	"go.uber.org/zap"
)

var benchBlobs = flag.Int("gc-blobs", 20000, "number of blobs of BenchmarkCollect, a tenth of which nobody uses")

// numbered is the digest of the n-th blob. Its bytes are not read.
func numbered(n int) digest.Digest {
	return digest.FromBytes(binary.BigEndian.AppendUint64(nil, uint64(n)))
}

// manyImages is an API with an Image of ten digests for nine tenths of all blobs.
type manyImages struct{ blobs int }

func (m manyImages) StreamPages(context.Context, func([]imagev1.ImageStream) error) error { return nil }

func (m manyImages) RegistryConfig(context.Context) (*imageregistryv1.Config, error) { return nil, nil }

func (m manyImages) ImagePages(_ context.Context, visit func([]imagev1.Image) error) error {
	page := make([]imagev1.Image, 0, pageSize)
	for n := 0; n < m.blobs*9/10; n += 10 {
		image := imagev1.Image{}
		image.Name = numbered(n).String()
		for layer := 1; layer < 10; layer++ {
			image.DockerImageLayers = append(image.DockerImageLayers, imagev1.ImageLayer{Name: numbered(n + layer).String()})
		}
		if page = append(page, image); len(page) == pageSize {
			if err := visit(page); err != nil {
				return err
			}
			page = page[:0]
		}
	}
	return visit(page)
}

// BenchmarkCollect is a collection beside a serving registry: budget 10 minutes for a
// million blobs, that is 100,000 blobs a minute, and 64 bytes of memory for each digest.
func BenchmarkCollect(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		directory := b.TempDir()
		fillBench(b, directory, *benchBlobs)
		driver, err := store.OpenDriver(b.Context(), "filesystem", configuration.Parameters{"rootdirectory": directory}, nil)
		if err != nil {
			b.Fatal(err)
		}
		blobs, err := store.New(b.Context(), driver, store.Options{Now: time.Now})
		if err != nil {
			b.Fatal(err)
		}
		options := DefaultOptions()
		options.DryRun, options.VerifyDelay = false, 0
		collector := &Collector{Store: blobs, Metadata: manyImages{*benchBlobs}, Log: zap.NewNop()}
		b.StartTimer()
		report, err := collector.Run(b.Context(), options, nil)
		if err != nil || report.DeletedBlobs != int64(*benchBlobs/10) || report.TotalBlobs != int64(*benchBlobs) {
			b.Fatalf("%d of %d deleted, %v", report.DeletedBlobs, report.TotalBlobs, err)
		}
	}
	b.ReportMetric(float64(*benchBlobs)*float64(b.N)/b.Elapsed().Minutes(), "blobs/min")
}

func fillBench(b *testing.B, directory string, blobs int) {
	b.Helper()
	at := time.Now().Add(-longAgo)
	for n := range blobs {
		d := numbered(n)
		path := filepath.Join(directory, storageRoot, "blobs/sha256", d.Encoded()[:2], d.Encoded())
		if err := os.MkdirAll(path, 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "data"), nil, 0o600); err != nil {
			b.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(path, "data"), at, at); err != nil {
			b.Fatal(err)
		}
	}
}

// What is remembered of a digest takes no more than 64 bytes, whatever their number.
func TestMemoryOfDigests(t *testing.T) {
	for _, count := range []int{100_000, 197_000, 300_000} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		table := newDigests()
		candidates := make([]uint32, 0, count)
		for n := range count {
			var key [32]byte
			binary.BigEndian.PutUint64(key[8:], uint64(n))
			candidates = append(candidates, table.mark(key, live))
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if each := float64(after.HeapAlloc-before.HeapAlloc) / float64(count); each > 66 { // with 4 for a candidate
			t.Errorf("%d digests take %.1f bytes each", count, each)
		}
		for n := range count {
			var key [32]byte
			binary.BigEndian.PutUint64(key[8:], uint64(n))
			if table.flags(key) != live || table.at(candidates[n]).key != key {
				t.Fatalf("digest %d of %d is lost", n, count)
			}
		}
		runtime.KeepAlive(candidates)
	}
}
