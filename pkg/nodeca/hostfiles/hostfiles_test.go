package hostfiles

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/nodeca/reasons"
)

var update = flag.Bool("update", false, "rewrite golden files")

const own = "image-registry.image-registry-system.svc:5000"

var (
	active   = Root{Path: "containerd/certs.d", Containerd: true, Active: true}
	caA, caB = certificate(1), certificate(2)
)

func (e *etc) sync(wants ...Want) Result {
	return Sync(context.Background(), e.tree, active, wants, Options{AllowRemoval: true})
}

func words(found []reasons.Reason) string {
	var all []string
	for _, reason := range reasons.Sort(slices.Clone(found)) {
		all = append(all, reason.Reason)
	}
	return strings.Join(all, " ")
}

// Behaviour 8 (form of hosts.toml).
func TestOwnHostsGetTheDocumentedFiles(t *testing.T) {
	e := newEtc(t, map[string]string{"containerd/": ""}, nil)
	result := e.sync(Want{Host: own, PEM: caA, Own: true}, Want{Host: "other.example.com", PEM: caB})
	if words(result.Reasons) != "" || len(result.Satisfied) != 2 || result.Written != 3 {
		t.Fatalf("result %+v", result)
	}
	got, err := os.ReadFile(filepath.Join(e.dir, active.Path, own, "hosts.toml"))
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/hosts.toml"
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(golden); err != nil || !bytes.Equal(got, want) {
		t.Errorf("hosts.toml is\n%s\nwant\n%s (%v)", got, want, err)
	}
	if names := e.list(active.Path + "/other.example.com"); names != ".image-registry-node-ca.json ca.crt" {
		t.Errorf("additional host has %s", names)
	}
	info, _ := os.Stat(filepath.Join(e.dir, active.Path, own, "ca.crt"))
	if info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v", info.Mode())
	}
}

// Behaviour 9.
func TestForeignContentIsRespected(t *testing.T) {
	host := active.Path + "/" + own
	for name, test := range map[string]struct {
		files     map[string]string
		satisfied bool
		reasons   string
		list      string
	}{
		"absent":             {nil, true, "", ".image-registry-node-ca.json ca.crt hosts.toml"},
		"empty":              {map[string]string{host + "/": ""}, true, "", ".image-registry-node-ca.json ca.crt hosts.toml"},
		"same CA":            {map[string]string{host + "/ca.crt": "text\n" + string(caA)}, true, "", "ca.crt"},
		"other files":        {map[string]string{host + "/client.cert": "x"}, true, "", ".image-registry-node-ca.json ca.crt client.cert"},
		"other CA":           {map[string]string{host + "/ca.crt": string(caB)}, true, "", ".image-registry-node-ca.json ca.crt image-registry-node-ca.crt"},
		"foreign hosts.toml": {map[string]string{host + "/hosts.toml": "x"}, false, "ForeignConfigWins", "hosts.toml"},
		"a file":             {map[string]string{host: "x"}, false, "SymlinkRefused", "-"},
		"copied directory": {map[string]string{host + "/" + MarkerFile: `{"version":1,"host":"else","files":{"ca.crt":"sha256:x"},"createdDir":true}`, host + "/ca.crt": string(caB)},
			true, "", ".image-registry-node-ca.json ca.crt image-registry-node-ca.crt"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEtc(t, test.files, nil)
			before := e.snapshot(false)
			result := e.sync(Want{Host: own, PEM: caA, Own: true})
			if got := len(result.Satisfied) == 1; got != test.satisfied || words(result.Reasons) != test.reasons {
				t.Errorf("satisfied %v, reasons %v", got, result.Reasons)
			}
			if got := e.list(host); got != test.list {
				t.Errorf("files %s, want %s", got, test.list)
			}
			if name == "copied directory" {
				return // its marker is replaced: the name is the agent's
			}
			Clean(context.Background(), e.tree, active)
			after := e.snapshot(false)
			for path, text := range before {
				if after[path] != text && path != "." {
					t.Errorf("%s was %q, is %q", path, text, after[path])
				}
			}
			for path := range after {
				if _, known := before[path]; !known && len(test.files) > 0 {
					t.Errorf("%s is left after cleanup", path)
				}
			}
		})
	}
}

// Behaviour 27.
func TestCleanupRestoresTheTree(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"nothing there": {"passwd": "x"},
		"parent there":  {"containerd/config.toml": "x"},
		"root there":    {"containerd/certs.d/docker.io/hosts.toml": "x"},
	} {
		for _, path := range []string{active.Path, "containerd/certs.d:/etc/docker/certs.d"} {
			e := newEtc(t, files, nil)
			root := Root{Path: path, Containerd: true, Active: true}
			before := e.snapshot(false)
			for _, pem := range [][]byte{caA, caB} {
				result := Sync(context.Background(), e.tree, root, []Want{{Host: own, PEM: pem, Own: true}, {Host: "a.example.com", PEM: pem}}, Options{AllowRemoval: true})
				if len(result.Satisfied) != 2 || len(result.Reasons) != 0 {
					t.Fatalf("%s: %+v", name, result)
				}
			}
			if result := Clean(context.Background(), e.tree, root); len(result.Reasons) != 0 {
				t.Errorf("%s: %v", name, result.Reasons)
			}
			if after := e.snapshot(false); !maps.Equal(before, after) {
				t.Errorf("%s %s: before %v\nafter %v", name, path, slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
			}
			if again := Clean(context.Background(), e.tree, root); len(again.Changes) != 0 {
				t.Errorf("second cleanup did %v", again.Changes)
			}
		}
	}
}

// Behaviour 27.
func TestCleanupLeavesEditedFiles(t *testing.T) {
	e := newEtc(t, nil, nil)
	e.sync(Want{Host: own, PEM: caA, Own: true})
	e.put(active.Path+"/"+own+"/ca.crt", "edited")
	result := Clean(context.Background(), e.tree, active)
	if words(result.Reasons) != "Tampered" || e.list(active.Path+"/"+own) != "ca.crt" {
		t.Errorf("reasons %v, files %s", result.Reasons, e.list(active.Path+"/"+own))
	}
}

// Behaviour 14.
func TestASecondPassWritesNothing(t *testing.T) {
	var writes []string
	e := newEtc(t, nil, func(op, path string) error { writes = append(writes, op+" "+path); return nil })
	wants := []Want{{Host: own, PEM: caA, Own: true}, {Host: "a.example.com", PEM: caB}}
	e.sync(wants...)
	before := e.snapshot(true)
	writes = nil
	if result := e.sync(wants...); len(result.Changes) != 0 || len(writes) != 0 || !maps.Equal(before, e.snapshot(true)) {
		t.Errorf("changes %v, writes %v", result.Changes, writes)
	}
}

// Behaviour 15.
func TestDeviationsAreRepaired(t *testing.T) {
	host := active.Path + "/" + own
	for name, damage := range map[string]func(e *etc) error{
		"edited, newer time": func(e *etc) error {
			e.put(host+"/ca.crt", "edited")
			later := time.Now().Add(time.Hour)
			return os.Chtimes(filepath.Join(e.dir, host, "ca.crt"), later, later)
		},
		"deleted": func(e *etc) error { return os.Remove(filepath.Join(e.dir, host, "hosts.toml")) },
		"mode":    func(e *etc) error { return os.Chmod(filepath.Join(e.dir, host, "ca.crt"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			e := newEtc(t, nil, nil)
			want := Want{Host: own, PEM: caA, Own: true}
			e.sync(want)
			before := e.snapshot(false)
			if err := damage(e); err != nil {
				t.Fatal(err)
			}
			damaged := e.snapshot(false)
			held := Sync(context.Background(), e.tree, active, []Want{want}, Options{Hold: func(string) bool { return true }})
			if words(held.Reasons) != "Contention Tampered" || !maps.Equal(damaged, e.snapshot(false)) {
				t.Errorf("held: %v", held.Reasons)
			}
			result := e.sync(want)
			if len(result.Tampered) != 1 || !maps.Equal(before, e.snapshot(false)) {
				t.Errorf("tampered %v, tree %v", result.Tampered, e.snapshot(false))
			}
		})
	}
}

// Behaviour 16.
func TestOnlyOwnedDirectoriesAreRemoved(t *testing.T) {
	e := newEtc(t, map[string]string{active.Path + "/docker.io/ca.crt": "x"}, nil)
	e.sync(Want{Host: own, PEM: caA, Own: true}, Want{Host: "a.example.com", PEM: caA}, Want{Host: "b.example.com", PEM: caA})
	kept := Sync(context.Background(), e.tree, active, []Want{{Host: own, PEM: caA, Own: true}}, Options{})
	if kept.Removed != 0 || e.list(active.Path) != "a.example.com b.example.com docker.io "+own {
		t.Errorf("without permission: %+v, %s", kept, e.list(active.Path))
	}
	Sync(context.Background(), e.tree, active, []Want{{Host: own, PEM: caA, Own: true}}, Options{AllowRemoval: true, Keep: map[string]bool{"b.example.com": true}})
	if got := e.list(active.Path); got != "b.example.com docker.io "+own {
		t.Errorf("left %s", got)
	}
}

// Behaviour 10.
func TestTheAdministratorsDefaultIsNotShadowed(t *testing.T) {
	e := newEtc(t, nil, nil)
	wants := []Want{{Host: own, PEM: caA, Own: true}, {Host: "a.example.com", PEM: caA}}
	e.sync(wants...)
	e.put(active.Path+"/_default/hosts.toml", "x")
	e.put(active.Path+"/image-registry.image-registry-system.svc_5000_/ca.crt", "x")
	result := e.sync(wants...)
	if words(result.Reasons) != "ForeignConfigWins WouldShadowDefault" || e.list(active.Path+"/a.example.com") != "-" || e.list(active.Path+"/"+own) == "-" {
		t.Errorf("reasons %v, root %s", result.Reasons, e.list(active.Path))
	}
}

// Behaviour 11.
func TestSymbolicLinksAreRefused(t *testing.T) {
	outside := t.TempDir()
	for name, link := range map[string]string{
		"root": active.Path, "parent": "containerd", "host": active.Path + "/" + own, "file": active.Path + "/" + own + "/ca.crt",
	} {
		t.Run(name, func(t *testing.T) {
			e := newEtc(t, nil, nil)
			e.put(filepath.Dir(link)+"/", "")
			if err := os.Symlink(outside, filepath.Join(e.dir, link)); err != nil {
				t.Fatal(err)
			}
			result := e.sync(Want{Host: own, PEM: caA, Own: true})
			if words(result.Reasons) != "SymlinkRefused" || len(result.Satisfied) != 0 {
				t.Errorf("result %+v", result)
			}
			if entries, _ := os.ReadDir(outside); len(entries) != 0 {
				t.Errorf("written through the link: %v", entries)
			}
		})
	}
}

// Behaviours 13, 18: every changing call fails in turn, with all calls after it (a crash) or alone.
func TestFailureAtAnyCallConverges(t *testing.T) {
	steps := [][]Want{
		{{Host: own, PEM: caA, Own: true}, {Host: "a.example.com", PEM: caA}},
		{{Host: own, PEM: caB, Own: true}},
	}
	for _, crash := range []bool{true, false} {
		for failAt := 1; ; failAt++ {
			calls := 0
			broken := true
			e := newEtc(t, map[string]string{"containerd/config.toml": "x", active.Path + "/" + own + "/": ""}, func(op, path string) error {
				if calls++; broken && (calls == failAt || (crash && calls > failAt)) {
					return syscall.ENOSPC
				}
				return nil
			})
			before := e.snapshot(false)
			for _, wants := range steps {
				e.sync(wants...)
			}
			reached := calls >= failAt
			broken = false
			Sweep(e.tree, active.Path, time.Now().Add(time.Hour), false)
			if result := e.sync(steps[1]...); len(result.Satisfied) != 1 || (words(result.Reasons) != "" && words(result.Reasons) != "Tampered") {
				// A file that was claimed and not yet written looks like one that somebody deleted.
				t.Fatalf("crash %v at %d: %+v", crash, failAt, result)
			}
			for path := range e.snapshot(false) {
				if strings.Contains(path, tempPrefix) {
					t.Fatalf("crash %v at %d: %s is left", crash, failAt, path)
				}
			}
			Clean(context.Background(), e.tree, active)
			if after := e.snapshot(false); !maps.Equal(before, after) {
				t.Fatalf("crash %v at %d: cleanup leaves %v", crash, failAt, slices.Sorted(maps.Keys(after)))
			}
			if !reached {
				break
			}
		}
	}
}

// Behaviour 12.
func TestARuntimeNeverSeesAnIncompleteDirectory(t *testing.T) {
	e := newEtc(t, map[string]string{"containerd/": ""}, nil)
	host := filepath.Join(e.dir, active.Path, own)
	stop := make(chan struct{})
	problems := make(chan string, 1)
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if problem := look(host); problem != "" {
				problems <- problem
				return
			}
		}
	})
	for i := range 90 {
		switch i % 3 {
		case 0:
			e.sync(Want{Host: own, PEM: caA, Own: true})
		case 1:
			e.sync(Want{Host: own, PEM: caB, Own: true})
		case 2:
			Sync(context.Background(), e.tree, active, []Want{{Host: "a", PEM: caA}}, Options{AllowRemoval: true})
		}
	}
	close(stop)
	reader.Wait()
	select {
	case problem := <-problems:
		t.Error(problem)
	default:
	}
}

// look does what a runtime does: open the directory once, then read what is in it.
func look(host string) string {
	dir, err := os.OpenRoot(host)
	if err != nil {
		return ""
	}
	defer dir.Close()
	inside := func() bool { _, err := os.Lstat(host); return err == nil }
	pem, err := dir.ReadFile("ca.crt")
	if errors.Is(err, fs.ErrNotExist) && inside() {
		// The opened directory may be one that was just removed and made anew: look again by name.
		if _, err := os.ReadFile(filepath.Join(host, "ca.crt")); errors.Is(err, fs.ErrNotExist) && sameDir(dir, host) {
			return "directory without ca.crt"
		}
		return ""
	}
	if err == nil && !bytes.Equal(pem, caA) && !bytes.Equal(pem, caB) {
		return fmt.Sprintf("partial ca.crt of %d bytes", len(pem))
	}
	return ""
}

func sameDir(dir *os.Root, host string) bool {
	opened, err := dir.Stat(".")
	if err != nil {
		return false
	}
	named, err := os.Stat(host)
	return err == nil && os.SameFile(opened, named)
}

// Behaviour 17.
func TestTwoAgentsAtOnceEndInTheRightState(t *testing.T) {
	e := newEtc(t, nil, nil)
	var done sync.WaitGroup
	for range 2 {
		done.Go(func() {
			for i := range 40 {
				e.sync(Want{Host: own, PEM: [][]byte{caA, caB}[i%2], Own: true})
			}
		})
	}
	done.Wait()
	result := e.sync(Want{Host: own, PEM: caA, Own: true})
	if len(result.Satisfied) != 1 || e.list(active.Path+"/"+own) != ".image-registry-node-ca.json ca.crt hosts.toml" {
		t.Errorf("result %+v, files %s", result, e.list(active.Path+"/"+own))
	}
}

// Behaviour 5: roots of runtimes that are not there are not made, what is owned in them stays current.
func TestInactiveRootsAreOnlyMaintained(t *testing.T) {
	e := newEtc(t, nil, nil)
	inactive := Root{Path: active.Path, Containerd: true}
	want := Want{Host: own, PEM: caA, Own: true}
	Sync(context.Background(), e.tree, inactive, []Want{want}, Options{AllowRemoval: true})
	if e.list(".") != "" {
		t.Errorf("made %s", e.list("."))
	}
	e.sync(want)
	want.PEM = caB
	Sync(context.Background(), e.tree, inactive, []Want{want, {Host: "new.example.com", PEM: caA}}, Options{AllowRemoval: true})
	data, _ := os.ReadFile(filepath.Join(e.dir, active.Path, own, "ca.crt"))
	if !bytes.Equal(data, caB) || e.list(active.Path) != ".image-registry-node-ca.json "+own {
		t.Errorf("root has %s", e.list(active.Path))
	}
	Sync(context.Background(), e.tree, inactive, nil, Options{AllowRemoval: true})
	if e.list(".") != "" {
		t.Errorf("left %s", e.list("."))
	}
}
