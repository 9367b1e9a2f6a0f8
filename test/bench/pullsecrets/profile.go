package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"syscall"
)

// profiles writes, when the process is asked by a signal, what is in use as it is, and a profile of what a
// collection leaves. The measurement has read the kernel's figures before it asks.
func profiles(ctx context.Context, dir string) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	defer signal.Stop(asked)
	for {
		select {
		case <-ctx.Done():
			return
		case <-asked:
		}
		name := filepath.Join(dir, strconv.Itoa(os.Getpid()))
		if err := profile(name); err != nil {
			fmt.Fprintln(os.Stderr, "profile:", err)
		}
	}
}

func profile(name string) error {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	runtime.GC()
	runtime.GC() // the second one ends what pools keep
	runtime.ReadMemStats(&after)
	figures := fmt.Sprintf("in use after a collection: %d KiB in %d objects; before: %d KiB\n"+
		"spans in use %d KiB, kept free %d KiB, returned %d KiB; stacks %d KiB; for the collector %d KiB, other %d KiB\n"+
		"collections %d, processor time of the collector %.2f %%, goroutines %d\n",
		after.HeapAlloc>>10, after.HeapObjects, before.HeapAlloc>>10,
		before.HeapInuse>>10, (before.HeapIdle-before.HeapReleased)>>10, before.HeapReleased>>10, before.StackInuse>>10, before.GCSys>>10,
		(before.OtherSys+before.MSpanInuse+before.MCacheInuse+before.BuckHashSys)>>10,
		before.NumGC, before.GCCPUFraction*100, runtime.NumGoroutine())
	if err := os.WriteFile(name+".txt", []byte(figures), 0o600); err != nil {
		return err
	}
	file, err := os.Create(name + ".part")
	if err != nil {
		return err
	}
	err = errors.Join(pprof.Lookup("heap").WriteTo(file, 0), file.Close())
	if err != nil {
		return err
	}
	return os.Rename(name+".part", name+".heap") // who waits for it reads a whole one
}
