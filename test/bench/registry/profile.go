package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"

	"image.alauda.io/registry/pkg/registry/app"
)

// profileVariable names the directory of CPU profiles for the registry inside this program.
const profileVariable = "REGISTRY_BENCH_PROFILES"

// serveProfiled is the registry with a CPU profile per measurement: SIGUSR1 begins one and SIGUSR2 ends it and
// writes the allocations.
func serveProfiled(args []string) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	go profileBySignals(os.Getenv(profileVariable), signals)
	if code := app.Run(context.Background(), args, os.Stdout, os.Stderr); code != 0 {
		return fmt.Errorf("the registry ended with %d", code)
	}
	return nil
}

func profileBySignals(dir string, signals <-chan os.Signal) {
	var file io.WriteCloser
	number := 0
	for {
		switch s := <-signals; {
		case s == syscall.SIGUSR1 && file == nil:
			number++
			created, err := os.Create(filepath.Join(dir, fmt.Sprintf("%03d.pprof", number))) //nolint:gosec // chosen by the caller
			if err != nil {
				fmt.Fprintln(os.Stderr, "profile:", err)
				continue
			}
			file = created
			_ = pprof.StartCPUProfile(file) // none other runs
		case s == syscall.SIGUSR2 && file != nil:
			pprof.StopCPUProfile()
			_ = file.Close()
			file = nil
			if err := writeAllocations(filepath.Join(dir, fmt.Sprintf("%03d.allocs.pprof", number))); err != nil {
				fmt.Fprintln(os.Stderr, "profile:", err)
			}
		}
	}
}

// writeAllocations writes what is in use and what was allocated since the start.
func writeAllocations(path string) error {
	file, err := os.Create(path) //nolint:gosec // chosen by the caller
	if err != nil {
		return err
	}
	runtime.GC() // what is in use is as of the last collection
	return errors.Join(pprof.Lookup("allocs").WriteTo(file, 0), file.Close())
}

// profile begins a profile of the registry, if asked for, and returns what ends it.
func (f *field) profile(w workload, c *contender) func() {
	if f.options.profile == "" || c.name != contenderOurs {
		return func() {}
	}
	fmt.Fprintf(os.Stderr, "profile of %s, %d clients\n", strings.TrimSpace(w.name), w.clients)
	_ = c.command.Process.Signal(syscall.SIGUSR1)
	return func() { _ = c.command.Process.Signal(syscall.SIGUSR2) }
}
