// Package processes reads what the kernel says of processes of this machine: processor time, memory, parents.
//
// In come process ids, or names of the programs that the caller started. Out come figures of /proc. It starts
// and ends nothing.
package processes

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of processor time in /proc, the same on every Linux that Go knows.
const tick = 10 * time.Millisecond

// Stat returns name, parent and processor time of a process.
func Stat(pid int) (name string, parent int, spent time.Duration, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0, 0, err
	}
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	fields := strings.Fields(string(data[end+1:]))
	const parentField, userField, systemField = 1, 11, 12
	if open < 0 || len(fields) <= systemField {
		return "", 0, 0, fmt.Errorf("/proc/%d/stat: %q", pid, data)
	}
	parent, _ = strconv.Atoi(fields[parentField]) // the kernel writes numbers
	for _, field := range []int{userField, systemField} {
		ticks, _ := strconv.ParseInt(fields[field], 10, 64)
		spent += time.Duration(ticks) * tick
	}
	return string(data[open+1 : end]), parent, spent, nil
}

// Children finds processes that this program started.
func Children(names ...string) (map[string]int, error) {
	directories, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	found := map[string]int{}
	for _, directory := range directories {
		pid, _ := strconv.Atoi(filepath.Base(directory)) // by its pattern
		name, parent, _, err := Stat(pid)
		if err == nil && parent == os.Getpid() && slices.Contains(names, name) {
			found[name] = pid
		}
	}
	if len(found) != len(names) {
		return nil, fmt.Errorf("of %v only %v run", names, found)
	}
	return found, nil
}

// Used is the processor time of processes together.
func Used(pids map[string]int) (time.Duration, error) {
	total := time.Duration(0)
	for name, pid := range pids {
		_, _, one, err := Stat(pid)
		if err != nil {
			return 0, fmt.Errorf("%s has ended: %w", name, err)
		}
		total += one
	}
	return total, nil
}

// Figure reads a number of a file of /proc.
func Figure(text, name string) int64 {
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name {
			number, _ := strconv.ParseInt(fields[1], 10, 64)
			return number
		}
	}
	return 0
}
