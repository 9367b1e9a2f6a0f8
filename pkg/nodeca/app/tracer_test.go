//go:build linux && amd64

package app

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// A writing call is a system call that changes something below the watched directory.
type writingCall struct {
	name string
	path string
	// grows is true for calls that need room on the disk.
	grows bool
}

func (c writingCall) String() string { return c.name + " " + c.path }

// What happens to a writing call.
type fate struct {
	// errno is what the call returns instead of being carried out.
	errno unix.Errno
	// kill ends the process before the call.
	kill bool
	// half lets the call do half of its work, if it writes bytes, or all of it otherwise.
	half bool
	// killAfter ends the process when the call has been carried out.
	killAfter bool
}

// ending is how a traced program ended.
type ending struct {
	calls  []writingCall
	code   int
	killed bool
	output string
}

// tracee is one thread of the traced program.
type tracee struct {
	inCall bool
	fate   fate
	fated  bool
}

type tracer struct {
	top     string
	pid     int
	decide  func(n int, call writingCall) fate
	threads map[int]*tracee
	ending  ending
}

// traced runs a program, asks for the fate of every writing call below top, and returns how it ended.
func traced(command *exec.Cmd, top string, decide func(n int, call writingCall) fate) (ending, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	output, err := os.CreateTemp("", "node-ca-output-")
	if err != nil {
		return ending{}, err
	}
	defer os.Remove(output.Name())
	defer output.Close()
	command.Stdout, command.Stderr = output, output
	command.SysProcAttr = &unix.SysProcAttr{Ptrace: true}
	if err := command.Start(); err != nil {
		return ending{}, err
	}
	t := &tracer{top: top, pid: command.Process.Pid, decide: decide, threads: map[int]*tracee{}}
	defer command.Process.Release()
	err = t.follow()
	if err != nil {
		_ = unix.Kill(t.pid, unix.SIGKILL)
	}
	text, readErr := os.ReadFile(output.Name())
	t.ending.output = string(text)
	return t.ending, errors.Join(err, readErr)
}

func (t *tracer) follow() error {
	var status unix.WaitStatus
	if _, err := unix.Wait4(t.pid, &status, unix.WALL, nil); err != nil || !status.Stopped() {
		return fmt.Errorf("the program did not stop at its beginning: %v, %v", status, err)
	}
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(t.pid, options); err != nil {
		return err
	}
	t.threads[t.pid] = &tracee{}
	if err := unix.PtraceSyscall(t.pid, 0); err != nil {
		return err
	}
	for {
		// Only children of this thread: other tests of the process have children of their own.
		tid, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for the program: %w", err)
		}
		if status.Exited() || status.Signaled() {
			delete(t.threads, tid)
			if tid == t.pid {
				t.ending.code, t.ending.killed = status.ExitStatus(), status.Signaled()
				return nil
			}
			continue
		}
		signal, err := t.stopped(tid, status)
		if err == nil {
			err = unix.PtraceSyscall(tid, signal)
		}
		if err != nil && !errors.Is(err, unix.ESRCH) { // killed meanwhile
			return err
		}
	}
}

// stopped looks at one stop and returns the signal to hand on.
func (t *tracer) stopped(tid int, status unix.WaitStatus) (int, error) {
	thread := t.threads[tid]
	if thread == nil { // a new thread begins with a stop of its own
		t.threads[tid] = &tracee{}
		return 0, nil
	}
	signal := status.StopSignal()
	switch {
	case signal == unix.SIGTRAP|0x80:
		thread.inCall = !thread.inCall
		if thread.inCall {
			return 0, t.enter(tid, thread)
		}
		return 0, t.leave(tid, thread)
	case signal == unix.SIGTRAP || signal == unix.SIGSTOP:
		return 0, nil
	}
	return int(signal), nil
}

func (t *tracer) enter(tid int, thread *tracee) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return err
	}
	call, ok := t.writing(tid, &regs)
	if !ok {
		return nil
	}
	t.ending.calls = append(t.ending.calls, call)
	thread.fate, thread.fated = t.decide(len(t.ending.calls), call), true
	switch {
	case thread.fate.kill:
		return unix.Kill(t.pid, unix.SIGKILL)
	case thread.fate.errno != 0:
		regs.Orig_rax = ^uint64(0) // no such call
		return unix.PtraceSetRegs(tid, &regs)
	case thread.fate.half:
		return t.halve(tid, &regs)
	}
	return nil
}

func (t *tracer) leave(tid int, thread *tracee) error {
	if !thread.fated {
		return nil
	}
	thread.fated = false
	switch {
	case thread.fate.errno != 0:
		var regs unix.PtraceRegs
		if err := unix.PtraceGetRegs(tid, &regs); err != nil {
			return err
		}
		regs.Rax = uint64(-int64(thread.fate.errno))
		return unix.PtraceSetRegs(tid, &regs)
	case thread.fate.killAfter:
		return unix.Kill(t.pid, unix.SIGKILL)
	}
	return nil
}

// halve makes a call that writes bytes write only the first half of them.
func (t *tracer) halve(tid int, regs *unix.PtraceRegs) error {
	switch regs.Orig_rax {
	case unix.SYS_WRITE, unix.SYS_PWRITE64:
		regs.Rdx /= 2
		return unix.PtraceSetRegs(tid, regs)
	case unix.SYS_PWRITEV2:
		length := make([]byte, 8)
		if err := t.peek(tid, regs.Rsi+8, length); err != nil {
			return err
		}
		binary.LittleEndian.PutUint64(length, binary.LittleEndian.Uint64(length)/2)
		_, err := unix.PtracePokeData(tid, uintptr(regs.Rsi+8), length)
		return err
	}
	return nil
}

// byDescriptor are the calls whose first argument is the changed file, byName those with a directory and a name.
var (
	byDescriptor = map[uint64]string{
		unix.SYS_WRITE: "write", unix.SYS_WRITEV: "writev", unix.SYS_PWRITE64: "pwrite", unix.SYS_PWRITEV: "pwritev",
		unix.SYS_PWRITEV2: "pwritev2", unix.SYS_FSYNC: "fsync", unix.SYS_FDATASYNC: "fdatasync", unix.SYS_SYNCFS: "syncfs",
		unix.SYS_SYNC_FILE_RANGE: "sync_file_range", unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_FALLOCATE: "fallocate",
		unix.SYS_FCHMOD: "fchmod", unix.SYS_FCHOWN: "fchown", unix.SYS_FSETXATTR: "fsetxattr", unix.SYS_FREMOVEXATTR: "fremovexattr",
	}
	byName = map[uint64]string{
		unix.SYS_MKDIRAT: "mkdirat", unix.SYS_UNLINKAT: "unlinkat", unix.SYS_SYMLINKAT: "symlinkat", unix.SYS_MKNODAT: "mknodat",
		unix.SYS_FCHMODAT: "fchmodat", unix.SYS_FCHOWNAT: "fchownat", unix.SYS_UTIMENSAT: "utimensat",
	}
	byTwoNames = map[uint64]string{unix.SYS_RENAMEAT: "renameat", unix.SYS_RENAMEAT2: "renameat2", unix.SYS_LINKAT: "linkat"}
	growing    = map[string]bool{
		"openat": true, "write": true, "writev": true, "pwrite": true, "pwritev": true, "pwritev2": true,
		"fallocate": true, "mkdirat": true, "symlinkat": true, "linkat": true,
	}
)

// writing reports whether a call changes something below top.
func (t *tracer) writing(tid int, regs *unix.PtraceRegs) (writingCall, bool) {
	call := writingCall{}
	number := regs.Orig_rax
	switch {
	case byDescriptor[number] != "":
		call.name, call.path = byDescriptor[number], t.descriptor(tid, regs.Rdi)
	case byName[number] != "":
		nameAt := regs.Rsi
		dir := regs.Rdi
		if number == unix.SYS_SYMLINKAT {
			dir, nameAt = regs.Rsi, regs.Rdx
		}
		call.name, call.path = byName[number], t.named(tid, dir, nameAt)
	case byTwoNames[number] != "":
		call.name, call.path = byTwoNames[number], t.named(tid, regs.Rdx, regs.R10)
	case number == unix.SYS_OPENAT && regs.Rdx&(unix.O_WRONLY|unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC) != 0:
		call.name, call.path = "openat", t.named(tid, regs.Rdi, regs.Rsi)
	case number == unix.SYS_OPENAT2:
		how := make([]byte, 8)
		if t.peek(tid, regs.Rdx, how) != nil || binary.LittleEndian.Uint64(how)&(unix.O_WRONLY|unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC) == 0 {
			return call, false
		}
		call.name, call.path = "openat", t.named(tid, regs.Rdi, regs.Rsi)
	default:
		return call, false
	}
	rel, ok := strings.CutPrefix(call.path, t.top+"/")
	call.path, call.grows = rel, growing[call.name]
	return call, ok
}

func (t *tracer) descriptor(tid int, fd uint64) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tid, int32(fd)))
	if err != nil {
		return ""
	}
	return path
}

func (t *tracer) named(tid int, dirfd, nameAt uint64) string {
	text := make([]byte, 256)
	for size := len(text); size > 0 && t.peek(tid, nameAt, text[:size]) != nil; size /= 2 { // near the end of a mapping
		text = text[:size/2]
	}
	name, _, _ := bytes.Cut(text, []byte{0})
	if filepath.IsAbs(string(name)) {
		return string(name)
	}
	return filepath.Join(t.descriptor(tid, dirfd), string(name))
}

// peek reads the memory of the program.
func (t *tracer) peek(tid int, at uint64, into []byte) error {
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", tid))
	if err != nil {
		return err
	}
	defer memory.Close()
	_, err = memory.ReadAt(into, int64(at))
	return err
}
