package fsroot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func open(t *testing.T, dir string, options Options) *Root {
	t.Helper()
	root, err := Open(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// Behaviour 11, with and without openat2.
func TestNoSymbolicLinkIsEverFollowed(t *testing.T) {
	for name, old := range map[string]bool{"openat2": false, "stepwise": true} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			outside, etc := filepath.Join(top, "outside"), filepath.Join(top, "etc")
			must(t, os.MkdirAll(filepath.Join(outside, "certs.d"), 0o755))
			must(t, os.MkdirAll(filepath.Join(etc, "real", "certs.d"), 0o755))
			must(t, os.Symlink(outside, filepath.Join(etc, "absolute")))
			must(t, os.Symlink("real", filepath.Join(etc, "relative")))
			must(t, os.WriteFile(filepath.Join(outside, "file"), []byte("secret"), 0o644))
			must(t, os.Symlink(filepath.Join(outside, "file"), filepath.Join(etc, "link")))
			root := open(t, etc, Options{NoOpenat2: old})

			for _, rel := range []string{"absolute", "absolute/certs.d", "relative/certs.d", "../outside", "/etc", "real/../real"} {
				if dir, err := root.Dir(rel); err == nil {
					dir.Close()
					t.Errorf("%s was opened", rel)
				}
			}
			dir, err := root.Dir("real/certs.d")
			must(t, err)
			dir.Close()

			here, err := root.Dir(".")
			must(t, err)
			defer here.Close()
			if _, _, err := here.ReadFile("link", 100); !errors.Is(err, syscall.ELOOP) {
				t.Errorf("reading a link: %v, want ELOOP", err)
			}
			if err := here.WriteNew("link", []byte("x"), 0o644); !errors.Is(err, fs.ErrExist) {
				t.Errorf("writing over a link: %v, want exists", err)
			}
			if err := here.WriteNew("../escape", []byte("x"), 0o644); !errors.Is(err, syscall.EINVAL) {
				t.Errorf("writing outside: %v, want EINVAL", err)
			}
		})
	}
}

func TestAFailedWriteLeavesNothing(t *testing.T) {
	for _, operation := range []string{"open", "write", "fsync"} {
		etc := t.TempDir()
		root := open(t, etc, Options{Fault: func(op, _ string) error {
			if op == operation {
				return syscall.ENOSPC
			}
			return nil
		}})
		dir, err := root.Dir(".")
		must(t, err)
		err = dir.WriteNew("file", []byte("data"), 0o644)
		dir.Close()
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: got %v, want ENOSPC", operation, err)
		}
		if entries, _ := os.ReadDir(etc); len(entries) != 0 {
			t.Errorf("%s: left %v", operation, entries)
		}
	}
}

func TestRenameNewNeverReplaces(t *testing.T) {
	etc := t.TempDir()
	must(t, os.Mkdir(filepath.Join(etc, "taken"), 0o755))
	dir, err := open(t, etc, Options{}).Dir(".")
	must(t, err)
	defer dir.Close()
	fresh, err := dir.Mkdir("fresh", 0o755)
	must(t, err)
	fresh.Close()
	if err := dir.RenameNew("fresh", "taken"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want exists", err)
	}
	must(t, dir.RenameNew("fresh", "free"))
	must(t, dir.Rmdir("free"))
	if _, err := dir.Lstat("free"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("free still exists: %v", err)
	}
}

func TestReadFileHasALimit(t *testing.T) {
	etc := t.TempDir()
	must(t, os.WriteFile(filepath.Join(etc, "file"), make([]byte, 11), 0o644))
	dir, err := open(t, etc, Options{}).Dir(".")
	must(t, err)
	defer dir.Close()
	if _, _, err := dir.ReadFile("file", 10); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	if data, _, err := dir.ReadFile("file", 11); err != nil || len(data) != 11 {
		t.Errorf("got %d bytes, %v", len(data), err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
