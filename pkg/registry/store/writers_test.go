package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// started opens a session and leaves it with some content.
func (f *fixture) started(t *testing.T, content string) string {
	t.Helper()
	upload, err := f.NewUpload(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	f.append(t, upload, content)
	return upload.ID
}

func (f *fixture) append(t *testing.T, upload *Upload, content string) {
	t.Helper()
	if _, err := upload.Append(strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if err := upload.Close(); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) resumed(t *testing.T, id string) *Upload {
	t.Helper()
	upload, _, err := f.ResumeUpload(t.Context(), app, id)
	if err != nil {
		t.Fatal(err)
	}
	return upload
}

// Two replicas on one file system: whoever may still write to the file of a session could change a blob that the
// other has verified.
//
// Behaviour 13.
func TestOneWriterOfASessionOnAllReplicas(t *testing.T) {
	a := newFixture(t)
	replica, err := New(t.Context(), a.driver, Options{Now: a.clock})
	if err != nil {
		t.Fatal(err)
	}
	b := &fixture{Store: replica, directory: a.directory}
	id := a.started(t, "half")
	writer := a.resumed(t, id)
	if _, size, err := b.ResumeUpload(t.Context(), app, id); !errors.Is(err, ErrUploadBusy) || size != 4 {
		t.Errorf("second replica: size %d, %v; want 4, busy", size, err)
	}
	if size, err := b.UploadSize(t.Context(), app, id); err != nil || size != 4 {
		t.Errorf("status on the second replica: %d, %v", size, err)
	}
	a.append(t, writer, " done")
	taken := b.resumed(t, id)
	if _, err := taken.Commit(t.Context(), digest.FromString("half done")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.ResumeUpload(t.Context(), app, id); !errors.Is(err, ErrUploadUnknown) {
		t.Errorf("after the commit: %v, want unknown", err)
	}
	if _, err := os.Stat(filepath.Join(a.directory, repositoryPath(app, "_uploads", id))); !os.IsNotExist(err) {
		t.Errorf("the session was left behind: %v", err)
	}
}

func TestWriterThatDiedDoesNotBlockTheSession(t *testing.T) {
	f := newFixture(t)
	id := f.started(t, "half")
	marker := repositoryPath(app, "_uploads", id, "writers", "dead")
	f.write(t, marker, "")
	if _, _, err := f.ResumeUpload(t.Context(), app, id); !errors.Is(err, ErrUploadBusy) {
		t.Errorf("living writer: %v, want busy", err)
	}
	f.setTime(t, marker, f.clock().Add(-writerAge-time.Second))
	f.append(t, f.resumed(t, id), " done")
	if _, err := f.resumed(t, id).Commit(t.Context(), digest.FromString("half done")); err != nil {
		t.Error(err)
	}
}

// A process was killed after it had written the state of its hash and before the last bytes. What is appended then
// is not what the state has seen.
func TestHashStateAheadOfTheDataIsNotTrusted(t *testing.T) {
	f := newFixture(t)
	id := f.started(t, "AAAABBBB")
	if err := os.Truncate(filepath.Join(f.directory, repositoryPath(app, "_uploads", id, "data")), 4); err != nil {
		t.Fatal(err)
	}
	f.append(t, f.resumed(t, id), "CCCC")
	_, err := f.resumed(t, id).Commit(t.Context(), digest.FromString("AAAABBBB"))
	if !errors.Is(err, ErrDigestMismatch) {
		t.Errorf("commit of other bytes: %v, want a mismatch", err)
	}
}
