package gc

import (
	"context"
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/store"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
)

// disk is a storage on a disk of so many bytes, in blocks of 4 KiB.
type disk struct {
	driver.StorageDriver
	world *world
	size  int64
}

func (d *disk) used() (total int64) {
	d.world.Helper()
	d.world.must(filepath.WalkDir(d.world.directory, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && !info.IsDir() {
			total += (info.Size() + 4095) &^ 4095
		}
		return err
	}))
	return total
}

func (d *disk) PutContent(ctx context.Context, path string, content []byte) error {
	if d.used()+int64(len(content)) > d.size {
		return driver.Error{DriverName: d.Name(), Detail: &fs.PathError{Op: "write", Path: path, Err: syscall.ENOSPC}}
	}
	return d.StorageDriver.PutContent(ctx, path, content)
}

// A collection frees space on a disk that has none left, which is when it is needed most: what
// it announces goes to the space that the registry has set aside, and that is set aside again.
func TestACollectionOnAFullDisk(t *testing.T) {
	for name, reserved := range map[string]bool{"with a reserve": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			kept, _ := w.image(app, "kept", nil)
			w.stream(app, w.put(app, kept))
			w.record(kept)
			lost := []digest.Digest{w.bytes("a lost layer").Digest, w.bytes("another one").Digest}
			if reserved {
				w.must(w.store.KeepReserve(t.Context()))
			}
			w.age()
			full := &disk{StorageDriver: w.driver, world: w}
			full.size = full.used()
			var err error
			w.store, err = store.New(t.Context(), full, store.Options{Now: time.Now})
			w.must(err)
			w.options.Workers = 1
			report, err := w.collect()
			if err != nil || report.State != StateSucceeded {
				t.Fatalf("%+v, %v", report, err)
			}
			if !reserved {
				// What nobody set aside in time is told, blob by blob.
				if len(report.Errors) != len(lost) || report.DeletedBlobs != 0 {
					t.Errorf("without a reserve: %+v", report)
				}
				return
			}
			if len(report.Errors) > 0 || report.DeletedBlobs != int64(len(lost)) {
				t.Errorf("%+v", report)
			}
			for _, d := range lost {
				if w.stored(d) {
					t.Errorf("%s is still there", d)
				}
			}
			if !w.files()["_gc/reserve"] || w.files()["_gc/room"] {
				t.Errorf("files afterwards: %v", w.files())
			}
			if _, err := w.store.NewUpload(t.Context(), app); err != nil {
				t.Errorf("an upload afterwards: %v", err)
			}
		})
	}
}
