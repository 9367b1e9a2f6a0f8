package etchosts

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"image.alauda.io/registry/pkg/nodeca/fsroot"
	"image.alauda.io/registry/pkg/nodeca/inputs"
	"image.alauda.io/registry/pkg/nodeca/reasons"
)

var wanted = []inputs.HostEntry{entry("10.96.3.7")}

func tree(t *testing.T, content *string, fault func(string, string) error) (*fsroot.Root, string) {
	t.Helper()
	etc := t.TempDir()
	file := filepath.Join(etc, "hosts")
	if content != nil {
		if err := os.WriteFile(file, []byte(*content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	root, err := fsroot.Open(etc, fsroot.Options{Fault: fault})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root, file
}

func content(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func hasReason(found []reasons.Reason, word string) bool {
	for _, reason := range found {
		if reason.Reason == word {
			return true
		}
	}
	return false
}

// Behaviours 14, 19, 21.
func TestTheFileKeepsItsInodeAndMode(t *testing.T) {
	text := "127.0.0.1 localhost\n"
	root, file := tree(t, &text, nil)
	before, _ := os.Stat(file)
	state := Apply(context.Background(), root, wanted, false)
	if !state.AsWanted || !state.Changed || len(state.Addresses) != 1 || state.Addresses[0].String() != "10.96.3.7" {
		t.Fatalf("state %+v", state)
	}
	after, _ := os.Stat(file)
	if !os.SameFile(before, after) || after.Mode() != before.Mode() || content(t, file) != text+block("10.96.3.7") {
		t.Errorf("mode %v, content %q", after.Mode(), content(t, file))
	}
	if again := Apply(context.Background(), root, wanted, false); again.Changed || !again.AsWanted {
		t.Errorf("second pass: %+v", again)
	}
	if last, _ := os.Stat(file); !last.ModTime().Equal(after.ModTime()) {
		t.Error("second pass changed the time stamp")
	}
	if gone := Apply(context.Background(), root, nil, false); !gone.AsWanted || content(t, file) != text {
		t.Errorf("removal: %+v, %q", gone, content(t, file))
	}
}

// Behaviour 19.
func TestAMissingFileIsCreatedOnlyForABlock(t *testing.T) {
	root, file := tree(t, nil, nil)
	if state := Apply(context.Background(), root, nil, false); !state.AsWanted || state.Changed {
		t.Errorf("removal from nothing: %+v", state)
	}
	state := Apply(context.Background(), root, wanted, false)
	if !state.AsWanted || !hasReason(state.Reasons, reasons.HostsFileCreated) || content(t, file) != block("10.96.3.7") {
		t.Errorf("state %+v", state)
	}
}

// Behaviours 11, 19.
func TestUnsuitableFilesAreRefused(t *testing.T) {
	big := strings.Repeat("# filler line\n", maxFileSize/14+1)
	root, file := tree(t, &big, nil)
	if state := Apply(context.Background(), root, wanted, false); !hasReason(state.Reasons, reasons.HostsFileRefused) || content(t, file) != big {
		t.Errorf("more than 1 MiB: %+v", state)
	}

	root, file = tree(t, nil, nil)
	target := filepath.Join(t.TempDir(), "target")
	if err := os.WriteFile(target, []byte("x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, file); err != nil {
		t.Fatal(err)
	}
	if state := Apply(context.Background(), root, wanted, false); !hasReason(state.Reasons, reasons.SymlinkRefused) || content(t, target) != "x\n" {
		t.Errorf("symlink: %+v", state)
	}
}

func TestADryRunWritesNothing(t *testing.T) {
	text := "127.0.0.1 localhost\n"
	root, file := tree(t, &text, func(op, path string) error { t.Errorf("%s %s", op, path); return nil })
	if state := Apply(context.Background(), root, wanted, true); !state.Changed || content(t, file) != text {
		t.Errorf("state %+v", state)
	}
}

// Behaviours 18, 23.
func TestAnErrorAtAnyCallLeavesForeignBytesIntact(t *testing.T) {
	text := "127.0.0.1 localhost\n10.5.5.5 other\n"
	for _, operation := range []string{"open", "fallocate", "pwrite", "fsync"} {
		for _, errno := range []syscall.Errno{syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT, syscall.EACCES, syscall.EPERM} {
			root, file := tree(t, &text, func(op, _ string) error {
				if op == operation {
					return errno
				}
				return nil
			})
			state := Apply(context.Background(), root, wanted, false)
			if len(state.Reasons) == 0 {
				t.Errorf("%s %v: no reason", operation, errno)
			}
			got := content(t, file)
			if err := foreignIntact([]byte(text), []byte(got)); err != nil {
				t.Errorf("%s %v: %v", operation, errno, err)
			}
			if operation != "fsync" && got != text {
				t.Errorf("%s %v: changed to %q", operation, errno, got)
			}
		}
	}
}

// Behaviour 22.
func TestAConcurrentEditorLosesNothing(t *testing.T) {
	text := "127.0.0.1 localhost\n"
	root, file := tree(t, &text, nil)
	var done sync.WaitGroup
	stop := make(chan struct{})
	appended := 0
	done.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			out, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				continue
			}
			out.WriteString("# appended\n")
			out.Close()
			if appended++; appended == 300 {
				return
			}
		}
	})
	for i := range 100 {
		entries := []inputs.HostEntry{entry([]string{"10.0.0.1", "10.0.0.2"}[i%2])}
		Apply(context.Background(), root, entries, false)
	}
	close(stop)
	done.Wait()
	state := Apply(context.Background(), root, wanted, false)
	got := content(t, file)
	if !state.AsWanted || strings.Count(got, "# appended\n") != appended || !strings.HasPrefix(got, text) {
		t.Errorf("%d of %d appended lines are left; state %+v", strings.Count(got, "# appended\n"), appended, state)
	}
}

// Behaviour 22: replacement by rename between reading and writing.
func TestAReplacedFileIsEditedAgain(t *testing.T) {
	text := "127.0.0.1 localhost\n"
	replaced := false
	_, file := tree(t, &text, nil)
	root, err := fsroot.Open(filepath.Dir(file), fsroot.Options{Fault: func(op, _ string) error {
		if op == "open" && !replaced {
			replaced = true
			return os.WriteFile(file+".new", []byte("# replaced\n"), 0o644)
		}
		if op == "pwrite" {
			// After the check and before the call: the write goes to a file that has lost its name.
			if _, err := os.Stat(file + ".new"); err == nil {
				return os.Rename(file+".new", file)
			}
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	Apply(context.Background(), root, wanted, false)
	state := Apply(context.Background(), root, wanted, false)
	if got := content(t, file); !state.AsWanted || got != "# replaced\n"+block("10.96.3.7") {
		t.Errorf("state %+v, content %q", state, got)
	}
}

// Behaviour 17.
func TestTwoWritersAtOnceEndInOneBlock(t *testing.T) {
	text := "127.0.0.1 localhost\n"
	root, file := tree(t, &text, nil)
	second, err := fsroot.Open(filepath.Dir(file), fsroot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	var done sync.WaitGroup
	for _, r := range []*fsroot.Root{root, second} {
		done.Go(func() {
			for i := range 200 {
				Apply(context.Background(), r, []inputs.HostEntry{entry([]string{"10.0.0.1", "10.0.0.2"}[i%2])}, false)
			}
		})
	}
	done.Wait()
	Apply(context.Background(), root, wanted, false)
	if got := content(t, file); got != text+block("10.96.3.7") {
		t.Errorf("content %q", got)
	}
	if bytes.Count([]byte(content(t, file)), []byte(beginPrefix)) != 1 {
		t.Error("more than one block")
	}
}

// Behaviour 22: an editor appends a line in the moment between the last look at the file and the write.
func TestALineAppendedInTheLastMomentSurvives(t *testing.T) {
	text := "127.0.0.1 localhost\n"
	long := inputs.HostEntry{IP: wanted[0].IP, Names: []string{service + ".svc." + strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + "." + strings.Repeat("c", 40)}}
	for name, test := range map[string]struct {
		before, after []inputs.HostEntry
		operation     string
	}{
		"block cut off":        {wanted, nil, "ftruncate"},
		"block grows in place": {wanted, []inputs.HostEntry{long}, "pwrite"},
		"block appended":       {nil, wanted, "pwrite"},
	} {
		t.Run(name, func(t *testing.T) {
			var file string
			appended := make(chan error, 1)
			armed := false
			_, file = tree(t, &text, nil)
			root, err := fsroot.Open(filepath.Dir(file), fsroot.Options{Fault: func(op, _ string) error {
				if !armed || op != test.operation {
					return nil
				}
				armed = false
				go func() { appended <- appendLine(file, "10.1.1.1 appended\n") }()
				select { // it comes through at once, or waits for the write
				case err := <-appended:
					appended <- err
				case <-time.After(300 * time.Millisecond):
				}
				return nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			Apply(context.Background(), root, test.before, false)
			armed = true
			Apply(context.Background(), root, test.after, false)
			if err := <-appended; err != nil {
				t.Fatal(err)
			}
			state := Apply(context.Background(), root, test.after, false)
			got := content(t, file)
			if !state.AsWanted || strings.Count(got, "10.1.1.1 appended\n") != 1 || !strings.HasPrefix(got, text) {
				t.Errorf("state %+v, content\n%s", state, got)
			}
		})
	}
}

func appendLine(file, line string) error {
	out, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = out.WriteString(line)
	return errors.Join(err, out.Close())
}

// Behaviours 13, 20: a block whose writer died while it was appended is found again, however much of it there is.
func TestABlockThatWasCutOffIsFoundAgain(t *testing.T) {
	for _, text := range []string{"127.0.0.1 localhost\n", "127.0.0.1 localhost", ""} {
		added := appendBlock([]byte(text), []inputs.HostEntry{entry("10.96.3.7"), entry("fd00::10")}).data
		from := len("\n") + leastBegin
		if text != "127.0.0.1 localhost" {
			from = leastBegin
		}
		for size := from; size < len(added); size++ {
			cut := append([]byte(text), added[:size]...)
			healed := planFor(cut, wanted).apply(cut)
			if got := strings.Count(string(healed), "image-registry"); got != strings.Count(block("10.96.3.7"), "image-registry") {
				t.Fatalf("%d bytes: a part of the old block is left\n%s", size, healed)
			}
			cleaned := planFor(cut, nil).apply(cut)
			if rest := strings.TrimSuffix(string(cleaned), "\n"); rest != strings.TrimSuffix(text, "\n") {
				t.Fatalf("%d bytes: removed, the file is\n%q", size, cleaned)
			}
			if bytes.HasPrefix(added, []byte("\n"+beginAfterNewline)) && size > len(beginAfterNewline) && string(cleaned) != text {
				t.Fatalf("%d bytes: the newline that was added is left: %q", size, cleaned)
			}
		}
	}
	for _, text := range []string{"a\n# BEGIN", "# BEGIN other", "10.96.3.7", "10.96.3.7 image-registry", "#", beginLine + "10.0.0.1 other", beginLine + "10.0.0.1 " + service + ".svc alias"} {
		cleaned := planFor([]byte(text), nil).apply([]byte(text))
		if foreign := strings.TrimPrefix(text, beginLine); !strings.HasSuffix(string(cleaned), foreign) {
			t.Errorf("%q was taken for ours: %q", text, cleaned)
		}
	}
}

// Behaviour 17: another agent keeps the file to itself for the moment of a write. That is waited for, and is no
// fault of the node.
func TestAFileThatAnotherAgentWritesIsWaitedFor(t *testing.T) {
	text := "127.0.0.1 localhost\n"
	root, name := tree(t, &text, nil)
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skipf("this file system has no leases: %v", err)
	}
	time.AfterFunc(50*time.Millisecond, func() { _, _ = unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_UNLCK) })
	if state := Apply(context.Background(), root, wanted, false); !state.AsWanted || len(state.Reasons) > 0 {
		t.Errorf("%+v", state)
	}
}

// Behaviours 18, 23: an administrator has made the file immutable, or one that only grows.
func TestAFileWithAttributesIsLeftAlone(t *testing.T) {
	for flag, what := range map[int]string{0x10: "immutable", 0x20: "append-only"} { // FS_IMMUTABLE_FL, FS_APPEND_FL
		text := "127.0.0.1 localhost\n"
		root, name := tree(t, &text, nil)
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		plain, err := unix.IoctlGetInt(int(file.Fd()), unix.FS_IOC_GETFLAGS)
		if err != nil {
			t.Skipf("this file system has no attributes: %v", err)
		}
		restore := func() { _ = unix.IoctlSetPointerInt(int(file.Fd()), unix.FS_IOC_SETFLAGS, plain) }
		t.Cleanup(restore)
		if err := unix.IoctlSetPointerInt(int(file.Fd()), unix.FS_IOC_SETFLAGS, plain|flag); err != nil {
			t.Skipf("only root may set attributes: %v", err)
		}
		state := Apply(context.Background(), root, wanted, false)
		restore()
		if !hasReason(state.Reasons, reasons.PermissionDenied) || state.AsWanted || content(t, name) != text {
			t.Errorf("%s: %+v, %q", what, state, content(t, name))
		}
		if state := Apply(context.Background(), root, wanted, false); !state.AsWanted {
			t.Errorf("no longer %s: %+v", what, state)
		}
	}
}
