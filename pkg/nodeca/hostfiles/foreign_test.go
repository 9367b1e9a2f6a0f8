package hostfiles

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Behaviours 9, 10: CRI-O reads the directory of a host in the first of two roots that has one, and so does
// containerd with a list. One of ours in the first would hide an administrator's in the second.
func TestADirectoryOfAnAdministratorIsNotHidden(t *testing.T) {
	first := Root{Path: "containers/certs.d", Active: true, Fallback: "docker/certs.d"}
	wants := []Want{{Host: "a.example.com", PEM: caA}, {Host: "b.example.com", PEM: caA}}
	for name, test := range map[string]struct {
		file   string
		hidden bool
	}{
		"a key for the client": {"docker/certs.d/a.example.com/client.key", true},
		"another CA":           {"docker/certs.d/a.example.com/ca.crt", true},
		"nothing of his":       {"docker/certs.d/a.example.com/", false},
		"another host":         {"docker/certs.d/c.example.com/ca.crt", false},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEtc(t, map[string]string{"containers/": "", test.file: "x"}, nil)
			result := Sync(context.Background(), e.tree, first, wants, Options{AllowRemoval: true})
			list, reason := "a.example.com b.example.com", ""
			if test.hidden {
				list, reason = "b.example.com", "ForeignConfigWins"
			}
			if got := e.list(first.Path); got != ".image-registry-node-ca.json "+list || words(result.Reasons) != reason {
				t.Errorf("root has %s, reasons %v", got, result.Reasons)
			}
		})
	}
	t.Run("made later", func(t *testing.T) {
		e := newEtc(t, map[string]string{"containers/": ""}, nil)
		Sync(context.Background(), e.tree, first, wants, Options{AllowRemoval: true})
		e.put("docker/certs.d/a.example.com/client.key", "x")
		result := Sync(context.Background(), e.tree, first, wants, Options{AllowRemoval: true})
		if got := e.list(first.Path + "/a.example.com"); got != "-" || words(result.Reasons) != "ForeignConfigWins" {
			t.Errorf("directory has %s, reasons %v", got, result.Reasons)
		}
	})
	t.Run("ours in both", func(t *testing.T) {
		e := newEtc(t, map[string]string{"containers/": "", "docker/": ""}, nil)
		second := Root{Path: "docker/certs.d", Active: true}
		for range 2 {
			for _, root := range []Root{first, second} {
				if result := Sync(context.Background(), e.tree, root, wants, Options{AllowRemoval: true}); len(result.Satisfied) != 2 {
					t.Errorf("%s: %+v", root.Path, result)
				}
			}
		}
	})
}

// Behaviours 11, 27: a link that somebody put in the place of one of our files is his; the directory does not
// vanish under it.
func TestALinkInThePlaceOfAFileIsLeftByACleanup(t *testing.T) {
	e := newEtc(t, nil, nil)
	e.sync(Want{Host: own, PEM: caA, Own: true})
	target := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(target, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(e.dir, active.Path, own, "ca.crt")
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(filepath.Dir(link))
	if err != nil {
		t.Fatal(err)
	}
	result := Clean(context.Background(), e.tree, active)
	after, err := os.Stat(filepath.Dir(link))
	if err != nil || !os.SameFile(before, after) || e.list(active.Path+"/"+own) != "ca.crt" || words(result.Reasons) != "Tampered" {
		t.Errorf("files %s, reasons %v, %v", e.list(active.Path+"/"+own), result.Reasons, err)
	}
	if text, err := os.ReadFile(target); err != nil || string(text) != "x" {
		t.Errorf("the target has %q, %v", text, err)
	}
}

// Behaviours 13, 27: what somebody put under a name of ours for temporary things is not deleted with it.
func TestSweepingDeletesOnlyWhatTheAgentWrites(t *testing.T) {
	e := newEtc(t, map[string]string{
		active.Path + "/.node-ca-1/ca.crt": "x", active.Path + "/.node-ca-1/their.key": "x", active.Path + "/.node-ca-2/ca.crt": "x",
		active.Path + "/.node-ca-2/" + MarkerFile: "x",
	}, nil)
	Sweep(e.tree, active.Path, time.Now(), true)
	if got := e.list(active.Path); got != ".node-ca-1" {
		t.Errorf("left %s", got)
	}
	if got := e.list(active.Path + "/.node-ca-1"); got != "their.key" {
		t.Errorf("left %s", got)
	}
}
