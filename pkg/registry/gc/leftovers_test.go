package gc

import (
	"os"
	"path/filepath"
	"testing"

	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
)

// What crashes and removals have left on a file system: directories without a link keep nothing
// and go with what they named, files that were never put in place go, and everything that is in
// use or young stays.
func TestLeftoversOfAFileSystem(t *testing.T) {
	w := newWorld(t)
	raw, _ := w.image(app, "kept", nil)
	image := w.put(app, raw)
	w.record(raw)
	w.stream(app, image)
	lost := w.bytes("lost layer").Digest
	below := func(path ...string) string {
		return filepath.Join(append([]string{w.directory, storageRoot}, path...)...)
	}
	directoryOf := func(d digest.Digest) string { return below("blobs/sha256", d.Encoded()[:2], d.Encoded()) }
	linkOf := func(d digest.Digest) string {
		return below("repositories", app.String(), "_layers/sha256", d.Encoded())
	}
	old := map[string]bool{ // files, and whether they stay
		filepath.Join(linkOf(lost), "link.1.tmp"):                                  false,
		filepath.Join(directoryOf(image), "data.2.tmp"):                            false,
		filepath.Join(directoryOf(digest.FromString("cut off")), "data.3.tmp"):     false,
		filepath.Join(directoryOf(digest.FromString("read")), ".nfs0001"):          false,
		filepath.Join(directoryOf(digest.FromString("unknown")), "something else"): true,
		filepath.Join(directoryOf(image), "data"):                                  true,
	}
	empty := []string{directoryOf(digest.FromString("empty")), linkOf(digest.FromString("empty"))}
	for file := range old {
		w.must(os.MkdirAll(filepath.Dir(file), 0o755))
		if filepath.Base(file) != "data" {
			w.must(os.WriteFile(file, []byte("x"), 0o600))
		}
	}
	for _, directory := range empty {
		w.must(os.MkdirAll(directory, 0o755))
	}
	w.age()
	young := []string{
		filepath.Join(directoryOf(digest.FromString("being pushed")), "data.4.tmp"),
		filepath.Join(directoryOf(digest.FromString("being served")), ".nfs0002"),
	}
	for _, file := range young {
		w.must(os.MkdirAll(filepath.Dir(file), 0o755))
		w.must(os.WriteFile(file, nil, 0o600))
	}
	w.mustCollect()
	if w.stored(lost) {
		t.Error("a directory without a link keeps a blob")
	}
	if !w.stored(image) || !w.linked(app, store.Revisions, image) {
		t.Error("what is in use is gone")
	}
	for file, stays := range old {
		if _, err := os.Stat(file); (err == nil) != stays {
			t.Errorf("%s stays: %t, want %t", file, err == nil, stays)
		}
	}
	for _, file := range young {
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}
	w.mustCollect() // a directory that lost its last file may be too young before
	w.age()
	w.mustCollect()
	for _, directory := range append(empty, linkOf(lost), directoryOf(digest.FromString("cut off"))) {
		if _, err := os.Stat(directory); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", directory, err)
		}
	}
}
