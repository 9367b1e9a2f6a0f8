// Command bench-storage measures what images cost in each storage backend: space, time and memory, with
// a real kube-apiserver and etcd and the server as a process of its own.
//
// In: the binaries of the development cluster and how many images to store. Out: one row of a table for
// each backend and number, to be taken over into docs/performance.md. Each row has a control plane of
// its own, so that no row pays for another.
//
// The objects are those that the registry writes for an image of 12 layers, and streams of three tags.
// They are stored by the import of package transfer, which also tells how fast records can be written.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"image.alauda.io/registry/pkg/imageapiserver/app"
)

// serveArgument makes this program the server that it measures.
const serveArgument = "image-api-server"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == serveArgument {
		os.Exit(app.Run(ctx, os.Args[2:], os.Stdout, os.Stderr))
	}
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "bench-storage: %v\n", err)
		os.Exit(1)
	}
}

type options struct {
	images   []int
	backends []string
	limit    time.Duration
	profiles string
}

func parse(args []string) (options, error) {
	flags := flag.NewFlagSet("bench-storage", flag.ContinueOnError)
	images := flags.String("images", "1000,10000,30000", "Numbers of images, separated by commas; a third as many streams come with them.")
	backends := flags.String("backends", "crd,etcd", "Backends, separated by commas.")
	limit := flags.Duration("limit", 30*time.Minute, "When to stop; rows that are not complete then are left out.")
	profiles := flags.String("profiles", "", "Folder for profiles of the server: CPU while it lists all images, and its heap afterwards.")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	o := options{backends: strings.Split(*backends, ","), limit: *limit, profiles: *profiles}
	for text := range strings.SplitSeq(*images, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 3 {
			return options{}, fmt.Errorf("-images: %q is no number of at least 3", text)
		}
		o.images = append(o.images, n)
	}
	for _, backend := range o.backends {
		if !slices.Contains([]string{"crd", "etcd"}, backend) {
			return options{}, fmt.Errorf("-backends: %q is neither crd nor etcd", backend)
		}
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
	fmt.Fprintf(out, "%d processors, %s, %s\n\n", runtime.NumCPU(), runtime.GOARCH, runtime.Version())
	fmt.Fprintln(out, strings.Join(columns, " | "))
	for _, n := range o.images {
		for _, backend := range o.backends {
			row, err := measure(ctx, backend, n, o.profiles)
			if err != nil {
				return fmt.Errorf("%s with %d images: %w", backend, n, err)
			}
			fmt.Fprintln(out, strings.Join(row, " | "))
		}
	}
	return nil
}
