// Command pruner measures what a prune costs on clusters of up to 200,000 images: time, memory of the
// pruner's process, requests.
//
// In: numbers of images. Out: tables in Markdown with the budget beside each figure, to be taken over
// into docs/performance.md. The first plans on generated clusters that a process of its own serves; the
// second fills a real kube-apiserver, etcd and image-api-server with the same objects and prunes with the
// rights of the shipped role, first as a dry run and then in earnest. The pruner is always a process of its
// own, the same code as the program `pruner`. What the servers take from the processors is part of the
// time, as all share the machine.
//
// It ends by itself, with everything that it started, and touches no cluster but its own.
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

// options say what is measured.
type options struct {
	// generated and real are numbers of images.
	generated, real []int
	// confirm is the largest real cluster that is pruned in earnest.
	confirm  int
	limit    time.Duration
	profiles string
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("bench-pruner", flag.ContinueOnError)
	sizes := flags.String("images", "", "numbers of images, separated by commas; 10000,50000,200000 without -real, 10000,30000 with it")
	real := flags.Bool("real", false, "only on a real API; without it the generated clusters and then 10000 images on a real API")
	flags.IntVar(&o.confirm, "confirm", 10000, "the largest number of images that a real cluster may have to be pruned in earnest, too")
	flags.DurationVar(&o.limit, "limit", 30*time.Minute, "when to give up")
	flags.StringVar(&o.profiles, "profiles", "", "folder for CPU and heap profiles of the pruner")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	var numbers []int
	for text := range strings.SplitSeq(*sizes, ",") {
		number, err := strconv.Atoi(text)
		if err != nil && *sizes == "" {
			break
		}
		if err != nil || number < 10 {
			return o, fmt.Errorf("-images: %q is no number of at least 10", text)
		}
		numbers = append(numbers, number)
	}
	switch {
	case *real && numbers == nil:
		o.real = []int{10000, 30000}
	case *real:
		o.real = numbers
	case numbers == nil:
		o.generated, o.real = []int{10000, 50000, 200000}, []int{10000}
	default:
		o.generated = numbers
	}
	return o, nil
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.limit)
	defer cancel()
	fmt.Fprintf(out, "%d processors, %s, %s\n", runtime.NumCPU(), runtime.GOARCH, runtime.Version())
	if len(o.generated) > 0 {
		fmt.Fprint(out, "\n"+header)
	}
	for _, images := range o.generated {
		r, err := measure(ctx, images, o.profiles)
		if err != nil {
			return fmt.Errorf("%d images: %w", images, err)
		}
		fmt.Fprint(out, r.row())
	}
	if len(o.real) > 0 {
		fmt.Fprint(out, "\n"+realHeader)
	}
	for _, images := range o.real {
		rows, err := measureReal(ctx, images, images <= o.confirm, o.profiles)
		fmt.Fprint(out, strings.Join(rows, ""))
		if err != nil {
			return fmt.Errorf("%d images on a real API: %w", images, err)
		}
	}
	return nil
}

const header = "| Images | Streams | Pods | Time | Budget | Processor time of the pruner | of the server | Peak RSS | Budget | Requests | Answers | Outcome |\n" +
	"|---|---|---|---|---|---|---|---|---|---|---|---|\n"

// budget of a number of images: that of the next size for which there is one.
func budget(images int) (time.Duration, int) {
	if images <= 10000 {
		return 10 * time.Second, 128
	}
	return 90 * time.Second, 1024
}

func (r result) row() string {
	limit, memory := budget(r.images)
	return fmt.Sprintf("| %d | %d | %d | %.1f s | %.0f s | %.1f s | %.1f s | %d MiB | %d MiB | %d | %d MiB | %s |\n",
		r.images, r.streams, r.pods, r.took.Seconds(), limit.Seconds(), r.cpu.Seconds(), r.served.Seconds(), r.peak>>10, memory, r.requests, r.bytes>>20, r.summary)
}
