// Package memlimit makes the garbage collector respect the memory limit of the container: near the limit
// it works harder instead of letting the kernel kill the process.
//
// In: the files of the control group, version 2 or 1. Out: a soft limit of the Go runtime at nine tenths
// of the container's, the rest being for what the runtime does not count. GOMEMLIMIT in the environment
// wins, and without any limit nothing changes.
//
// The package reads its files once and never fails: a limit that cannot be read is none.
package memlimit

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
)

// hierarchies are the mounts of control groups with the file of the limit, version 2 and 1, and how
// lines of /proc/self/cgroup for them begin after the number.
var hierarchies = []struct{ mount, file, controller string }{
	{"sys/fs/cgroup", "memory.max", ""},
	{"sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory"},
}

// unlimited is above every memory there is; version 1 writes such a number where there is no limit.
const unlimited = 1 << 50

// Apply sets the limit and returns it in bytes, 0 when there is none or the environment has set one.
func Apply() int64 {
	if os.Getenv("GOMEMLIMIT") != "" {
		return 0
	}
	limit := fromContainer("/")
	if limit > 0 {
		debug.SetMemoryLimit(limit)
	}
	return limit
}

// fromContainer returns nine tenths of the container's limit, 0 without one. A container normally sees
// its own group as the root; where it sees the groups of the machine, its own is named by the kernel,
// and the limit of every group above it, for example that of the Pod, holds too.
func fromContainer(root string) int64 {
	lowest := int64(0)
	for _, hierarchy := range hierarchies {
		for directory := ownGroup(root, hierarchy.controller); ; directory = filepath.Dir(directory) {
			limit := read(filepath.Join(root, hierarchy.mount, directory, hierarchy.file))
			if limit > 0 && (lowest == 0 || limit < lowest) {
				lowest = limit
			}
			if directory == "/" {
				break
			}
		}
	}
	return lowest / 10 * 9
}

// ownGroup finds the group of this process; "/" when it is the root or not known.
func ownGroup(root, controller string) string {
	raw, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return "/"
	}
	for line := range strings.Lines(string(raw)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) == 3 && slices.Contains(strings.Split(parts[1], ","), controller) {
			return filepath.Clean("/" + parts[2])
		}
	}
	return "/"
}

// read returns a limit, 0 when there is none.
func read(file string) int64 {
	raw, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	limit, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
	if err != nil || limit <= 0 || limit > unlimited {
		return 0
	}
	return limit
}
