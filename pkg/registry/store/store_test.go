package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/registry/route"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
)

var app = route.Name{Namespace: "team", Stream: "app"}

// fixture is a store in a directory whose clock the test sets.
type fixture struct {
	*Store
	directory string
	mu        sync.Mutex
	now       time.Time
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{directory: t.TempDir(), now: time.Now()}
	opened, err := OpenDriver(t.Context(), "filesystem", configuration.Parameters{"rootdirectory": f.directory}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.Store, err = New(t.Context(), opened, Options{Now: f.clock})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) clock() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *fixture) advance(by time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(by)
}

// upload stores content in a repository.
func (f *fixture) upload(t *testing.T, name route.Name, content string) digest.Digest {
	t.Helper()
	upload, err := f.NewUpload(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := upload.Append(strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	info, err := upload.Commit(t.Context(), digest.FromString(content))
	if err != nil {
		t.Fatal(err)
	}
	if info.Digest != digest.FromString(content) || info.Size != int64(len(content)) {
		t.Errorf("committed %+v", info)
	}
	return info.Digest
}

// files lists everything below the storage's root, digests shortened to blob names.
func (f *fixture) files(t *testing.T) []string {
	t.Helper()
	var found []string
	root := filepath.Join(f.directory, "docker/registry/v2")
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			relative, _ := filepath.Rel(root, path)
			found = append(found, relative)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

func (f *fixture) write(t *testing.T, path, content string) {
	t.Helper()
	path = filepath.Join(f.directory, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) read(t *testing.T, d digest.Digest) string {
	t.Helper()
	info, err := f.Stat(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	content, err := f.Open(t.Context(), info)
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	raw, err := io.ReadAll(content)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// The layout is a promise: storage of the stock engine is adopted, and another version must find it all.
func TestLayout(t *testing.T) {
	f := newFixture(t)
	blob := f.upload(t, app, "layer")
	raw := []byte(`{"schemaVersion":2}`)
	own := digest.FromBytes(raw)
	referrer := digest.FromString("referrer")
	for _, err := range []error{
		f.PutManifest(t.Context(), raw, own),
		f.PutLink(t.Context(), app, Revisions, own, own),
		f.PutTagHint(t.Context(), app, "v1", own),
		f.PutReferrer(t.Context(), app, own, referrer, referrer),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"blobs/sha256/" + blob.Encoded()[:2] + "/" + blob.Encoded() + "/data",
		"blobs/sha256/" + own.Encoded()[:2] + "/" + own.Encoded() + "/data",
		"repositories/team/app/_layers/sha256/" + blob.Encoded() + "/link",
		"repositories/team/app/_manifests/revisions/sha256/" + own.Encoded() + "/link",
		"repositories/team/app/_manifests/tags/v1/current/link",
		"repositories/team/app/_referrers/sha256/" + own.Encoded() + "/sha256/" + referrer.Encoded() + "/link",
	}
	slices.Sort(want)
	if got := f.files(t); !slices.Equal(got, want) {
		t.Errorf("files\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := f.read(t, blob); got != "layer" {
		t.Errorf("blob is %q", got)
	}
}

// Behaviours 7 and 17: what does not match leaves nothing, what was interrupted goes on.
func TestUploads(t *testing.T) {
	f := newFixture(t)
	upload, err := f.NewUpload(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	failing := io.MultiReader(strings.NewReader("half"), errReader{})
	if n, err := upload.Append(failing); n != 4 || !errors.Is(err, errClient) {
		t.Errorf("append: %d bytes, error %v; want 4 and the client's own", n, err)
	}
	if _, size, err := f.ResumeUpload(t.Context(), app, upload.ID); !errors.Is(err, ErrUploadBusy) || size != 4 {
		t.Errorf("second writer: size %d, error %v; want 4, busy", size, err)
	}
	if err := upload.Close(); err != nil {
		t.Fatal(err)
	}
	if f.ActiveUploads() != 0 {
		t.Error("a closed session counts as active")
	}
	upload, size, err := f.ResumeUpload(t.Context(), app, upload.ID)
	if err != nil || size != 4 {
		t.Fatalf("resume: size %d, error %v", size, err)
	}
	if _, err := upload.Append(strings.NewReader(" done")); err != nil {
		t.Fatal(err)
	}
	if _, err := upload.Commit(t.Context(), digest.FromString("something else")); !errors.Is(err, ErrDigestMismatch) {
		t.Errorf("commit: %v, want a mismatch", err)
	}
	if got := f.files(t); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
	for _, other := range []route.Name{app, {Namespace: "team", Stream: "other"}} {
		if _, _, err := f.ResumeUpload(t.Context(), other, upload.ID); !errors.Is(err, ErrUploadUnknown) {
			t.Errorf("%s: resume afterwards: %v, want unknown", other, err)
		}
	}
}

var errClient = errors.New("client left")

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errClient }

// Behaviour 16: a crash left a file that is too short under the digest's path.
func TestTruncatedBlobIsReplaced(t *testing.T) {
	f := newFixture(t)
	d := digest.FromString("layer")
	f.write(t, blobPath(d), "lay")
	f.upload(t, app, "layer")
	if got := f.read(t, d); got != "layer" {
		t.Errorf("blob is %q after the upload", got)
	}

	raw := []byte(`{"schemaVersion":2}`)
	canonical := digest.FromBytes(raw)
	f.write(t, blobPath(canonical), `{"schema`)
	if _, err := f.Manifest(t.Context(), canonical); !errors.Is(err, ErrCorrupt) {
		t.Errorf("truncated manifest: %v, want corrupt", err)
	}
	if err := f.PutManifest(t.Context(), raw, canonical); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Manifest(t.Context(), canonical); err != nil || !bytes.Equal(got, raw) {
		t.Errorf("manifest afterwards: %q, %v", got, err)
	}
}

// Damage of the same size is found, too: manifests are small enough to be read.
func TestDamagedManifestIsReplaced(t *testing.T) {
	f := newFixture(t)
	raw := []byte(`{"schemaVersion":2}`)
	canonical := digest.FromBytes(raw)
	f.write(t, blobPath(canonical), `{"schemaVersion":X}`)
	if err := f.PutManifest(t.Context(), raw, canonical); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Manifest(t.Context(), canonical); err != nil || !bytes.Equal(got, raw) {
		t.Errorf("manifest afterwards: %q, %v", got, err)
	}
}

// Behaviours 9 and 16: under a digest of another algorithm the leftover shows only after hashing. The first
// upload takes it away, the second is stored.
func TestTruncatedBlobIsReplacedForAnotherAlgorithm(t *testing.T) {
	f := newFixture(t)
	d, alias := digest.FromString("layer"), digest.SHA512.FromString("layer")
	f.write(t, blobPath(d), "lay")
	for attempt, fails := range []bool{true, false} {
		upload, err := f.NewUpload(t.Context(), app)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := upload.Append(strings.NewReader("layer")); err != nil {
			t.Fatal(err)
		}
		var failed *Error
		info, err := upload.Commit(t.Context(), alias)
		if errors.As(err, &failed) != fails || (err == nil && info.Digest != d) {
			t.Errorf("attempt %d: %+v, %v; want failure %t", attempt, info, err, fails)
		}
	}
	if got := f.read(t, d); got != "layer" {
		t.Errorf("blob is %q", got)
	}
}

// Behaviour 7: content under a false name fails and does no harm to what has the name.
func TestFalseDigestLeavesTheBlobAlone(t *testing.T) {
	f := newFixture(t)
	d := f.upload(t, app, "layer of somebody")
	for _, content := range []string{"", "short", "layer of SOMEBODY", "much longer than the layer of somebody"} {
		upload, err := f.NewUpload(t.Context(), route.Name{Namespace: "foe", Stream: "app"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := upload.Append(strings.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		if _, err := upload.Commit(t.Context(), d); !errors.Is(err, ErrDigestMismatch) {
			t.Errorf("%q: %v, want a mismatch", content, err)
		}
		if got := f.read(t, d); got != "layer of somebody" {
			t.Fatalf("after %q the blob is %q", content, got)
		}
	}
}

func TestLinks(t *testing.T) {
	f := newFixture(t)
	canonical, alias := digest.FromString("x"), digest.SHA512.FromString("x")
	if _, err := f.Link(t.Context(), app, Layers, canonical); !errors.Is(err, ErrNotFound) {
		t.Errorf("no link: %v", err)
	}
	for _, d := range []digest.Digest{canonical, alias} {
		if err := f.PutLink(t.Context(), app, Layers, d, canonical); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Link(t.Context(), app, Layers, d); err != nil || got != canonical {
			t.Errorf("link %s: %s, %v; want the canonical digest", d.Algorithm(), got, err)
		}
	}
	if _, err := f.Link(t.Context(), app, Revisions, canonical); !errors.Is(err, ErrNotFound) {
		t.Errorf("a layer's link is a manifest's: %v", err)
	}
	if _, err := f.Link(t.Context(), route.Name{Namespace: "team", Stream: "other"}, Layers, canonical); !errors.Is(err, ErrNotFound) {
		t.Errorf("a link of another repository: %v", err)
	}
	for _, content := range []string{"", "nonsense", "sha256:short", string(alias)} {
		f.write(t, linkPath(app, Revisions, canonical), content)
		if _, err := f.Link(t.Context(), app, Revisions, canonical); !errors.Is(err, ErrNotFound) {
			t.Errorf("damaged link %q: %v, want not found", content, err)
		}
	}
	for range 2 { // the second time there is nothing to remove
		if err := f.RemoveLink(t.Context(), app, Layers, canonical); err != nil {
			t.Error(err)
		}
	}
	if _, err := f.LinkTime(t.Context(), app, Layers, canonical); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed link: %v", err)
	}
	if at, err := f.LinkTime(t.Context(), app, Layers, alias); err != nil || time.Since(at) > time.Minute {
		t.Errorf("link was written at %s, %v", at, err)
	}
}

func TestReferrers(t *testing.T) {
	f := newFixture(t)
	subject := digest.FromString("subject")
	first, second := digest.FromString("1"), digest.SHA512.FromString("2")
	canonical := digest.FromString("2")
	if got, err := f.Referrers(t.Context(), app, subject); err != nil || len(got) != 0 {
		t.Errorf("none: %v, %v", got, err)
	}
	for _, referrer := range []Referrer{{first, first}, {second, canonical}} {
		if err := f.PutReferrer(t.Context(), app, subject, referrer.Digest, referrer.Canonical); err != nil {
			t.Fatal(err)
		}
	}
	f.write(t, referrersDirectory(app, subject)+"/sha256/nonsense/link", "nonsense")
	got, err := f.Referrers(t.Context(), app, subject)
	slices.SortFunc(got, func(a, b Referrer) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	if err != nil || !slices.Equal(got, []Referrer{{first, first}, {second, canonical}}) {
		t.Errorf("referrers %v, %v", got, err)
	}
	if err := f.RemoveReferrer(t.Context(), app, subject, first); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Referrers(t.Context(), app, subject); err != nil || len(got) != 1 {
		t.Errorf("after removal: %v, %v", got, err)
	}
}

// A reader may stand anywhere, also where nothing is any more.
func TestContentSeeks(t *testing.T) {
	f := newFixture(t)
	d := f.upload(t, app, "0123456789")
	info, err := f.Stat(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	content, err := f.Open(t.Context(), info)
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	for _, step := range []struct {
		offset int64
		whence int
		want   string
	}{{8, io.SeekStart, "89"}, {-3, io.SeekEnd, "789"}, {2, io.SeekStart, "23456789"}, {5, io.SeekEnd, ""}} {
		if _, err := content.Seek(step.offset, step.whence); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(content); err != nil || string(got) != step.want {
			t.Errorf("from %d: %q, %v; want %q", step.offset, got, err, step.want)
		}
	}
	if _, err := content.Seek(-1, io.SeekStart); err == nil {
		t.Error("a negative position is accepted")
	}
}

// broken fails every call with one error.
type broken struct {
	driver.StorageDriver
	err error
}

func (b broken) Stat(context.Context, string) (driver.FileInfo, error)        { return nil, b.err }
func (b broken) GetContent(context.Context, string) ([]byte, error)           { return nil, b.err }
func (b broken) PutContent(context.Context, string, []byte) error             { return b.err }
func (b broken) List(context.Context, string) ([]string, error)               { return nil, b.err }
func (b broken) Delete(context.Context, string) error                         { return b.err }
func (b broken) Reader(context.Context, string, int64) (io.ReadCloser, error) { return nil, b.err }

// A storage that does not work is never mistaken for one that is empty. Behaviour 97.
func TestBrokenStorage(t *testing.T) {
	d := digest.FromString("x")
	for _, test := range []struct {
		err  error
		full bool
	}{
		{driver.Error{DriverName: "x", Detail: syscall.ENOSPC}, true},
		{driver.Error{DriverName: "x", Detail: syscall.EROFS}, true},
		{&fs.PathError{Err: syscall.EDQUOT}, true},
		{errors.New("connection reset"), false},
	} {
		s, err := New(t.Context(), broken{err: test.err}, Options{Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		_, stat := s.Stat(ctx, d)
		_, link := s.Link(ctx, app, Layers, d)
		_, read := s.Manifest(ctx, d)
		_, rely := s.Rely(ctx, d)
		_, list := s.Referrers(ctx, app, d)
		_, open := s.Open(ctx, Info{Digest: d, Size: 1})
		for call, err := range map[string]error{
			"check": s.Check(ctx), "stat": stat, "link": link, "manifest": read, "rely": rely, "list": list, "open": open,
			"put link": s.PutLink(ctx, app, Layers, d, d), "remove link": s.RemoveLink(ctx, app, Layers, d),
			"put manifest": s.PutManifest(ctx, []byte("x"), d),
		} {
			var failed *Error
			if !errors.As(err, &failed) || errors.Is(err, ErrNotFound) || failed.Full() != test.full {
				t.Errorf("%s with %v: %v; want a storage error, full %t", call, test.err, err, test.full)
			}
		}
	}
}

// A client may name any digest as that of a manifest. Large blobs are never read into memory for it.
func TestLargeBlobIsNoManifest(t *testing.T) {
	f := newFixture(t)
	large := strings.Repeat("x", manifest.MaxConfigBytes)
	if raw, err := f.Manifest(t.Context(), f.upload(t, app, large)); err != nil || len(raw) != len(large) {
		t.Errorf("largest config: %d bytes, %v", len(raw), err)
	}
	if raw, err := f.Manifest(t.Context(), f.upload(t, app, large+"x")); !errors.Is(err, ErrNotFound) {
		t.Errorf("one byte more: %d bytes, %v; want not found", len(raw), err)
	}
}
