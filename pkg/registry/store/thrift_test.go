package store

import (
	"context"
	"io"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
)

// writeCounter notes what is written to a driver, in words that do not change with ids.
type writeCounter struct {
	driver.StorageDriver
	mu    sync.Mutex
	wrote []string
}

func (w *writeCounter) note(kind, target string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, part := range []string{"startedat", "hashstates", "writers", "data", "link"} {
		if strings.Contains(target, "/"+part) {
			if part == "hashstates" {
				part += "/" + path.Base(target)
			}
			w.wrote = append(w.wrote, kind+" "+part)
			return
		}
	}
	w.wrote = append(w.wrote, kind+" "+target)
}

// taken returns what was noted since the last call.
func (w *writeCounter) taken() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.wrote = nil }()
	return strings.Join(w.wrote, ", ")
}

func (w *writeCounter) PutContent(ctx context.Context, target string, content []byte) error {
	w.note("put", target)
	return w.StorageDriver.PutContent(ctx, target, content)
}

func (w *writeCounter) Writer(ctx context.Context, target string, appending bool) (driver.FileWriter, error) {
	w.note("open", target)
	return w.StorageDriver.Writer(ctx, target, appending)
}

func (w *writeCounter) Move(ctx context.Context, from, to string) error {
	w.note("move", to)
	return w.StorageDriver.Move(ctx, from, to)
}

func newCountedFixture(t *testing.T) (*fixture, *writeCounter) {
	t.Helper()
	f := newFixture(t)
	counter := &writeCounter{StorageDriver: f.driver}
	counted, err := New(t.Context(), counter, Options{Now: f.clock})
	if err != nil {
		t.Fatal(err)
	}
	f.Store = counted
	return f, counter
}

func TestAnUploadWritesNoMoreThanItNeeds(t *testing.T) {
	f, counter := newCountedFixture(t)
	upload, err := f.NewUpload(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	if err := upload.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := counter.taken(), "put startedat"; got != want {
		t.Errorf("a session that begins: %s, want %s", got, want)
	}
	upload, _, err = f.ResumeUpload(t.Context(), app, upload.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := upload.Append(strings.NewReader("some ")); err != nil {
		t.Fatal(err)
	}
	if err := upload.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := counter.taken(), "open writers, open data, put hashstates/5"; got != want {
		t.Errorf("a chunk: %s, want %s", got, want)
	}
	upload, size, err := f.ResumeUpload(t.Context(), app, upload.ID)
	if err != nil || size != 5 {
		t.Fatalf("resumed with %d bytes, %v", size, err)
	}
	if _, err := upload.Append(strings.NewReader("bytes")); err != nil {
		t.Fatal(err)
	}
	if _, err := upload.Commit(t.Context(), digest.FromString("some bytes")); err != nil {
		t.Fatal(err)
	}
	if got, want := counter.taken(), "open writers, open data, move data, put link"; got != want {
		t.Errorf("the end: %s, want %s", got, want)
	}
	if left := f.files(t); len(left) != 2 {
		t.Errorf("more than the blob and its link is left: %v", left)
	}
}

func TestAnUploadOfOneRequestWritesNoState(t *testing.T) {
	f, counter := newCountedFixture(t)
	f.upload(t, app, "content")
	if got, want := counter.taken(), "put startedat, open data, move data, put link"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	f.upload(t, app, "")
	if info, err := f.Stat(t.Context(), digest.FromString("")); err != nil || info.Size != 0 {
		t.Errorf("the empty blob: %+v, %v", info, err)
	}
}

// A process that ends after the bytes are complete and before they are a blob leaves no state of the
// hash. The session goes on all the same, and its bytes are read again.
func TestACompleteSessionWithoutStateGoesOn(t *testing.T) {
	f := newFixture(t)
	upload, err := f.NewUpload(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := upload.Append(strings.NewReader("all of it")); err != nil {
		t.Fatal(err)
	}
	if err := upload.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.remove(t.Context(), repositoryPath(app, "_uploads", upload.ID, "hashstates")); err != nil {
		t.Fatal(err)
	}
	upload, _, err = f.ResumeUpload(t.Context(), app, upload.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := digest.FromString("all of it")
	if _, err := upload.Commit(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	content, err := f.Open(t.Context(), Info{Digest: want, Size: 9})
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close() //nolint:errcheck // read only
	if raw, err := io.ReadAll(content); err != nil || string(raw) != "all of it" {
		t.Errorf("%q, %v", raw, err)
	}
}
