package store

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/route"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
)

// reading notes the paths that are opened.
type reading struct {
	driver.StorageDriver
	paths []string
}

func (r *reading) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	r.paths = append(r.paths, path)
	return r.StorageDriver.Reader(ctx, path, offset)
}

// A false claim must not make the registry read what is stored: a byte could keep it busy with gigabytes.
func TestFalseDigestDoesNotReadTheBlob(t *testing.T) {
	f := newFixture(t)
	d := f.upload(t, app, "large layer of somebody")
	spy := &reading{StorageDriver: f.driver}
	f.driver = spy
	upload, err := f.NewUpload(t.Context(), route.Name{Namespace: "foe", Stream: "app"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := upload.Append(strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := upload.Commit(t.Context(), d); !errors.Is(err, ErrDigestMismatch) {
		t.Errorf("commit: %v, want a mismatch", err)
	}
	for _, path := range spy.paths {
		if path == blobPath(d) {
			t.Error("the stored blob was read")
		}
	}
	if f.ActiveUploads() != 0 {
		t.Error("the session is still open")
	}
	if _, err := os.Stat(filepath.Join(f.directory, repositoryPath(upload.name, "_uploads", upload.ID))); !os.IsNotExist(err) {
		t.Errorf("the session was left behind: %v", err)
	}
}

// Behaviour 85: the bytes of a slow upload are as old as its last chunk. A collector must not take them right after
// the client was told that they are there.
func TestCommitOfAnOldSessionIsMarked(t *testing.T) {
	for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		f := newFixture(t)
		upload, err := f.NewUpload(t.Context(), app)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := upload.Append(strings.NewReader("layer")); err != nil {
			t.Fatal(err)
		}
		if err := upload.Close(); err != nil {
			t.Fatal(err)
		}
		f.setTime(t, repositoryPath(app, "_uploads", upload.ID, "data"), f.clock().Add(-3*time.Hour))
		upload, _, err = f.ResumeUpload(t.Context(), app, upload.ID)
		if err != nil {
			t.Fatal(err)
		}
		info, err := upload.Commit(t.Context(), algorithm.FromString("layer"))
		if err != nil {
			t.Fatal(err)
		}
		stored, err := f.Stat(t.Context(), info.Digest)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Touched(t.Context(), info.Digest)
		if err != nil && f.clock().Sub(stored.ModTime) > touchAge {
			t.Errorf("%s: stored with time %s and not marked: %v", algorithm, stored.ModTime, err)
		}
	}
}

// Behaviour 85: what the engine found stored may be about to be deleted, also under another algorithm.
func TestCommitUnderAnotherAlgorithmSeesADeletion(t *testing.T) {
	f := newFixture(t)
	d := f.upload(t, app, "layer")
	f.setTime(t, blobPath(d), f.clock().Add(-time.Hour))
	f.write(t, markerPath(deletingMarker, d), "")
	go func() {
		<-time.After(50 * time.Millisecond)
		if err := f.remove(context.Background(), blobDirectory(d)); err != nil {
			t.Error(err)
		}
	}()
	upload, err := f.NewUpload(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := upload.Append(strings.NewReader("layer")); err != nil {
		t.Fatal(err)
	}
	_, err = upload.Commit(t.Context(), digest.SHA512.FromString("layer"))
	if _, missing := f.Stat(t.Context(), d); err == nil && missing != nil {
		t.Errorf("the upload succeeded and the content is gone: %v", missing)
	}
}
