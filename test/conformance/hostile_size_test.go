package conformance

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
)

// counting counts the files that are opened.
type counting struct {
	driver.StorageDriver
	reads atomic.Int64
}

func (c *counting) GetContent(ctx context.Context, path string) ([]byte, error) {
	c.reads.Add(1)
	return c.StorageDriver.GetContent(ctx, path)
}

func (c *counting) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	c.reads.Add(1)
	return c.StorageDriver.Reader(ctx, path, offset)
}

func repeated(child []byte, times int) [][]byte {
	list := make([][]byte, times)
	for i := range list {
		list[i] = child
	}
	return list
}

// A small index may name one child many times, and an index below it again: the work must not multiply.
func TestRepeatedChildrenCostNoMoreThanOne(t *testing.T) {
	const times = 500
	storage := &counting{StorageDriver: inmemory.New()}
	e := startOn(t, storage)
	child := e.image(repo, "child")
	e.putManifest(repo, digestOf(child), child, ociManifest).want(201)
	below := indexOf(repeated(child, times)...)
	for _, index := range [][]byte{below, indexOf(repeated(below, times)...)} {
		reads, calls := storage.reads.Load(), e.api.Calls("Image")
		e.putManifest(repo, "many", index, ociIndex).want(201)
		if got := storage.reads.Load() - reads; got > 50 {
			t.Errorf("%d reads of the storage", got)
		}
		if got := e.api.Calls("Image") - calls; got > 5 {
			t.Errorf("%d reads of Images", got)
		}
	}
}

// Each range opens the blob again, which is a request to an object store.
func TestThousandsOfRangesAreOneRead(t *testing.T) {
	storage := &counting{StorageDriver: inmemory.New()}
	e := startOn(t, storage)
	path := "/v2/team/app/blobs/" + e.pushBlob(repo, make([]byte, 10000))
	ranges := "bytes=0-0"
	for i := range 1000 {
		ranges += fmt.Sprintf(",%d-%d", 3*i+3, 3*i+3)
	}
	before := storage.reads.Load()
	answer := e.get(path, "Range", ranges).want(200)
	if got := storage.reads.Load() - before; got > 10 || len(answer.body) != 10000 {
		t.Errorf("%d reads of the storage for %d bytes", got, len(answer.body))
	}
}
