package store

import (
	"context"
	"io/fs"
	"slices"
	"syscall"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
)

// vanishing is a storage in which a directory goes so many times while it is read. The driver of the file
// system says that with the error of the system, inside of its own.
type vanishing struct {
	driver.StorageDriver
	times int
}

func (v *vanishing) fail() error {
	if v.times--; v.times < 0 {
		return nil
	}
	err := &fs.PathError{Op: "readdirent", Path: "/a/b", Err: syscall.ENOENT}
	return driver.Error{DriverName: "outer", Detail: driver.Error{DriverName: "filesystem", Detail: err}}
}

func (v *vanishing) Walk(ctx context.Context, path string, visit driver.WalkFn, options ...func(*driver.WalkOptions)) error {
	if err := v.fail(); err != nil {
		return err
	}
	return v.StorageDriver.Walk(ctx, path, visit, options...)
}

func (v *vanishing) List(ctx context.Context, path string) ([]string, error) {
	if err := v.fail(); err != nil {
		return nil, err
	}
	return v.StorageDriver.List(ctx, path)
}

// Uploads end while their directories are read: a collection looks again instead of failing.
func TestDirectoriesThatVanishWhileTheyAreRead(t *testing.T) {
	d := &vanishing{StorageDriver: inmemory.New()}
	s := newStore(t, d, Options{})
	if err := d.PutContent(t.Context(), "/a/b/c", []byte("x")); err != nil {
		t.Fatal(err)
	}
	d.times = 1
	var seen []string
	err := s.walk(t.Context(), "/a", func(info driver.FileInfo) error { seen = append(seen, info.Path()); return nil })
	if err != nil || !slices.Equal(seen, []string{"/a/b", "/a/b/c"}) {
		t.Errorf("walked %q, %v", seen, err)
	}
	d.times = 1
	if entries, err := s.list(t.Context(), "/a"); err != nil || !slices.Equal(entries, []string{"/a/b"}) {
		t.Errorf("listed %q, %v", entries, err)
	}
	// What keeps failing is no empty directory.
	d.times = 1000
	if err := s.walk(t.Context(), "/a", func(driver.FileInfo) error { return nil }); err == nil {
		t.Error("walk of a broken directory: no error")
	}
	if _, err := s.list(t.Context(), "/a"); err == nil {
		t.Error("list of a broken directory: no error")
	}
}
