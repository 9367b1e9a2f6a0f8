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
	"strconv"
	"strings"
)

// files hold the limit, below the root of the file system.
var files = []string{"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"}

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

// fromContainer returns nine tenths of the container's limit, 0 without one.
func fromContainer(root string) int64 {
	for _, file := range files {
		raw, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			continue
		}
		limit, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
		if err != nil || limit <= 0 || limit > unlimited {
			return 0
		}
		return limit / 10 * 9
	}
	return 0
}
