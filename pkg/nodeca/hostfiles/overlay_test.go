package hostfiles

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"image.alauda.io/registry/pkg/nodeca/fsroot"
)

// Behaviour 27: the agent's files came with the image of the node, whose /etc is an overlay. A directory of the
// layer below cannot be renamed there, and nevertheless goes, with the parents that were made for it.
func TestDirectoriesOfALowerLayerAreRemoved(t *testing.T) {
	top := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"lower/foreign", "upper", "work", "etc"} {
		must(os.MkdirAll(filepath.Join(top, name), 0o755))
	}
	lower, err := fsroot.Open(filepath.Join(top, "lower"), fsroot.Options{})
	must(err)
	defer lower.Close()
	root := Root{Path: "containerd/certs.d", Containerd: true, Active: true}
	wants := []Want{{Host: "a.example.com", PEM: []byte("a\n")}, {Host: "b.example.com", PEM: []byte("b\n")}}
	if made := Sync(context.Background(), lower, root, wants, Options{}); len(made.Reasons) > 0 || len(made.Satisfied) != 2 {
		t.Fatalf("%+v", made)
	}
	mounted := filepath.Join(top, "etc")
	options := "lowerdir=" + filepath.Join(top, "lower") + ",upperdir=" + filepath.Join(top, "upper") + ",workdir=" + filepath.Join(top, "work")
	if err := unix.Mount("node-ca", mounted, "overlay", 0, options); err != nil {
		t.Skipf("only root may mount an overlay: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(mounted, unix.MNT_DETACH) })
	etc, err := fsroot.Open(mounted, fsroot.Options{})
	must(err)
	defer etc.Close()

	gone := Sync(context.Background(), etc, root, wants[:1], Options{AllowRemoval: true})
	if len(gone.Reasons) > 0 {
		t.Errorf("a host that is no longer wanted: %+v", gone.Reasons)
	}
	if _, err := os.Lstat(filepath.Join(mounted, root.Path, "b.example.com")); !os.IsNotExist(err) {
		t.Errorf("the directory of a host that is no longer wanted is there: %v", err)
	}
	if clean := Clean(context.Background(), etc, root); len(clean.Reasons) > 0 {
		t.Errorf("clean-up: %+v", clean.Reasons)
	}
	entries, err := os.ReadDir(mounted)
	must(err)
	if len(entries) != 1 || entries[0].Name() != "foreign" {
		t.Errorf("left are %v", entries)
	}
}

// Who mounts something of his own on the root keeps the place of it; the agent's files in it go.
func TestARootThatIsAMountStays(t *testing.T) {
	top := t.TempDir()
	etc, err := fsroot.Open(top, fsroot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer etc.Close()
	root := Root{Path: "containerd/certs.d", Containerd: true, Active: true}
	if made := Sync(t.Context(), etc, root, []Want{{Host: "a.example.com", PEM: []byte("a\n")}}, Options{}); len(made.Reasons) > 0 {
		t.Fatalf("%+v", made)
	}
	place := filepath.Join(top, root.Path)
	if err := unix.Mount(place, place, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("only root may mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(place, unix.MNT_DETACH) })
	if clean := Clean(t.Context(), etc, root); len(clean.Reasons) > 0 {
		t.Errorf("clean-up: %+v", clean.Reasons)
	}
	entries, err := os.ReadDir(place)
	if err != nil || len(entries) > 0 {
		t.Errorf("left are %v, error %v", entries, err)
	}
}
