// Command pruner measures what planning a prune costs on clusters of up to 200,000 images: time, memory of
// the pruner's process, requests.
//
// In: numbers of images. Out: a table in Markdown with the budget beside each figure, to be taken over
// into docs/performance.md. The cluster is generated and served by a process of its own, and the pruner is
// a process of its own, the same code as the program `pruner`. What the server takes from the processors
// is part of the time, as both share the machine.
//
// It never changes anything: every run is a dry run.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case serveRole:
			os.Exit(serve(ctx, os.Args[2:]))
		case pruneRole:
			os.Exit(prune(ctx, os.Args[2:]))
		}
	}
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "bench-pruner: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("bench-pruner", flag.ContinueOnError)
	sizes := flags.String("images", "10000,50000,200000", "numbers of images, separated by commas")
	profiles := flags.String("profiles", "", "folder for CPU and heap profiles of the pruner")
	if err := flags.Parse(args); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d processors, %s, %s\n\n", runtime.NumCPU(), runtime.GOARCH, runtime.Version())
	fmt.Fprint(out, header)
	for text := range strings.SplitSeq(*sizes, ",") {
		images, err := strconv.Atoi(text)
		if err != nil || images < 10 {
			return fmt.Errorf("-images: %q is no number of at least 10", text)
		}
		r, err := measure(ctx, images, *profiles)
		if err != nil {
			return fmt.Errorf("%d images: %w", images, err)
		}
		fmt.Fprint(out, r.row())
	}
	return nil
}

const header = "| Images | Streams | Pods | Time | Budget | Processor time of the pruner | Peak RSS | Budget | Requests | Answers | Would delete |\n" +
	"|---|---|---|---|---|---|---|---|---|---|---|\n"

// budget of a number of images: that of the next size for which there is one.
func budget(images int) (time.Duration, int) {
	if images <= 10000 {
		return 10 * time.Second, 128
	}
	return 90 * time.Second, 1024
}

func (r result) row() string {
	limit, memory := budget(r.images)
	return fmt.Sprintf("| %d | %d | %d | %.1f s | %.0f s | %.1f s | %d MiB | %d MiB | %d | %d MiB | %s |\n",
		r.images, r.streams, r.pods, r.took.Seconds(), limit.Seconds(), r.cpu.Seconds(), r.peak>>10, memory, r.requests, r.bytes>>20, r.summary)
}
