package hostfiles

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// withoutOverride runs f as the agent runs: root that may not read what permissions keep from it.
func withoutOverride(t *testing.T, f func()) {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // and never unlocked: the thread ends with its capabilities
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&header, &data[0]); err != nil {
			t.Error(err)
			return
		}
		data[0].Effective &^= 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH
		if err := unix.Capset(&header, &data[0]); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-ended
}

// Behaviours 11, 27: what the agent may not read is not its own. It stays, is nobody's error, and no removal of
// the registry waits for it.
func TestFilesThatMayNotBeReadAreForeign(t *testing.T) {
	for _, name := range []string{hostsFile, caFile, MarkerFile} {
		t.Run(name, func(t *testing.T) {
			root := Root{Path: "containerd/certs.d", Active: true, Containerd: true}
			e := newEtc(t, map[string]string{"containerd/certs.d/mirror.example.com/" + name: "secret"}, nil)
			path := filepath.Join(e.dir, "containerd/certs.d/mirror.example.com", name)
			if err := os.Chmod(path, 0); err != nil {
				t.Fatal(err)
			}
			wants := []Want{{Host: "a.example.com", PEM: caA}}
			withoutOverride(t, func() {
				if _, err := os.ReadFile(path); err == nil {
					t.Error("the file can be read, the test shows nothing")
				}
				for _, want := range [][]Want{wants, nil} {
					result := Sync(context.Background(), e.tree, root, want, Options{AllowRemoval: true})
					if words(result.Reasons) != "" {
						t.Errorf("reasons %v", result.Reasons)
					}
				}
			})
			if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0 || info.Size() != int64(len("secret")) {
				t.Errorf("the foreign file is %v, %v", info, err)
			}
			if got := e.list("containerd/certs.d/a.example.com"); got != "-" {
				t.Errorf("our own host has %s after it was given up", got)
			}
		})
	}
}
