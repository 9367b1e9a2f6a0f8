package store

import (
	"io"
	"runtime"
	"testing"
)

// An upload that waits for its client holds a buffer for copying, the small one of the driver, and the state of the
// hash, whatever its size.
func TestMemoryOfOpenUploads(t *testing.T) {
	const uploads, most = 100, 64 << 10
	f := newFixture(t)
	heap := func() int64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc) //nolint:gosec // far below
	}
	content := make([]byte, 256<<10)
	done := make(chan error, uploads+1)
	var sources []*io.PipeWriter
	open := func() {
		upload, err := f.NewUpload(t.Context(), app)
		if err != nil {
			t.Fatal(err)
		}
		if err := upload.Close(); err != nil {
			t.Fatal(err)
		}
		upload, _, err = f.ResumeUpload(t.Context(), app, upload.ID)
		if err != nil {
			t.Fatal(err)
		}
		body, source := io.Pipe()
		sources = append(sources, source)
		go func() {
			_, err := upload.Append(body)
			if closeErr := upload.Close(); err == nil {
				err = closeErr
			}
			done <- err
		}()
		// It returns when everything was read, and the next read waits.
		if _, err := source.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	open() // what the first one leaves behind is not counted
	before := heap()
	for range uploads {
		open()
	}
	if each := (heap() - before) / uploads; each > most {
		t.Errorf("%d bytes for each open upload, want at most %d", each, most)
	} else {
		t.Logf("%d bytes for each open upload", each)
	}
	for _, source := range sources {
		if err := source.Close(); err != nil {
			t.Error(err)
		}
	}
	for range sources {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
