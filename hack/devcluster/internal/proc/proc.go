// Package proc says which process a number meant when it was written down.
//
// A process id alone is reused by the kernel, so a record holds the id, the
// time the process started in clock ticks and the boot it started in; only a
// process that matches all three is the one that was recorded. The package also
// finds processes by what cannot be lost with a record: a mark in their
// environment, their network namespace and their cgroup.
//
// It reads /proc (or a copy of it in tests) and sends signals; it never starts
// anything.
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Identity names one process for as long as the machine remembers it.
type Identity struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`
	Boot  string `json:"boot"`
}

// Table is a view of the processes of the machine.
type Table struct {
	// Root is /proc, or a copy of it in tests.
	Root string
}

// System is the machine's own table.
func System() Table { return Table{Root: "/proc"} }

// Identify returns the identity of a living process.
func (t Table) Identify(pid int) (Identity, error) {
	boot, err := t.Boot()
	if err != nil {
		return Identity{}, err
	}
	stat, err := t.stat(pid)
	if err != nil {
		return Identity{}, err
	}
	if stat.dead() && !t.threadsLeft(pid) {
		return Identity{}, fmt.Errorf("process %d has ended", pid)
	}
	return Identity{PID: pid, Start: stat.Start, Boot: boot}, nil
}

// threadsLeft says whether threads outlive the first one, which the state of a
// process is that of: until the last has ended, it keeps its ports and files.
func (t Table) threadsLeft(pid int) bool {
	threads, err := os.ReadDir(t.file(pid, "task"))
	return err == nil && len(threads) > 1
}

// Boot is the identity of the running kernel.
func (t Table) Boot() (string, error) {
	b, err := os.ReadFile(filepath.Join(t.Root, "sys/kernel/random/boot_id"))
	if err != nil {
		return "", fmt.Errorf("boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// Alive says whether exactly this process still runs. A process that ended but
// was not yet collected by its parent counts as ended.
func (t Table) Alive(id Identity) bool {
	if id.PID <= 0 {
		return false
	}
	now, err := t.Identify(id.PID)
	return err == nil && now == id
}

// Signal sends a signal to the process if it is still the same one.
func (t Table) Signal(id Identity, sig syscall.Signal) error {
	if !t.Alive(id) {
		return nil
	}
	if err := syscall.Kill(id.PID, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %v to process %d: %w", sig, id.PID, err)
	}
	return nil
}

// PIDs lists the processes there are now, kernel threads included.
func (t Table) PIDs() ([]int, error) {
	entries, err := os.ReadDir(t.Root)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// Environ returns the value of a variable the process was started with.
func (t Table) Environ(pid int, name string) (string, bool) {
	b, err := os.ReadFile(t.file(pid, "environ"))
	if err != nil {
		return "", false
	}
	for _, entry := range bytes.Split(b, []byte{0}) {
		if value, ok := strings.CutPrefix(string(entry), name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// Cgroups returns the cgroup lines of the process, empty when it is gone.
func (t Table) Cgroups(pid int) string {
	b, err := os.ReadFile(t.file(pid, "cgroup"))
	if err != nil {
		return ""
	}
	return string(b)
}

// NetNS returns the inode of the process's network namespace.
func (t Table) NetNS(pid int) (uint64, bool) { return Inode(t.file(pid, "ns/net")) }

// Inode returns the inode behind a path, following links.
func Inode(path string) (uint64, bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return stat.Ino, true
}

func (t Table) file(pid int, name string) string {
	return filepath.Join(t.Root, strconv.Itoa(pid), name)
}

// Stat is what this package needs of /proc/PID/stat.
type Stat struct {
	State  byte
	Parent int
	Start  uint64
}

func (s Stat) dead() bool { return s.State == 'Z' || s.State == 'X' }

func (t Table) stat(pid int) (Stat, error) {
	b, err := os.ReadFile(t.file(pid, "stat"))
	if err != nil {
		return Stat{}, fmt.Errorf("process %d: %w", pid, err)
	}
	stat, err := ParseStat(string(b))
	if err != nil {
		return Stat{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return stat, nil
}

// Parent returns the parent of a process, 0 when it is gone.
func (t Table) Parent(pid int) int {
	stat, err := t.stat(pid)
	if err != nil {
		return 0
	}
	return stat.Parent
}

// ParseStat reads a line of /proc/PID/stat (proc(5)). The command in
// parentheses may itself hold spaces and parentheses, so the fields are counted
// from the last closing one: state is field 3, the parent 4, the start time 22.
func ParseStat(line string) (Stat, error) {
	end := strings.LastIndexByte(line, ')')
	if end < 0 {
		return Stat{}, errors.New("stat line has no command")
	}
	fields := strings.Fields(line[end+1:])
	const state, parent, start = 0, 1, 19 // counted from field 3
	if len(fields) <= start {
		return Stat{}, fmt.Errorf("stat line has %d fields after the command", len(fields))
	}
	ppid, err := strconv.Atoi(fields[parent])
	if err != nil {
		return Stat{}, fmt.Errorf("stat line: parent: %w", err)
	}
	ticks, err := strconv.ParseUint(fields[start], 10, 64)
	if err != nil {
		return Stat{}, fmt.Errorf("stat line: start time: %w", err)
	}
	return Stat{State: fields[state][0], Parent: ppid, Start: ticks}, nil
}
