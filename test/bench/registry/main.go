// Command registry measures the data plane beside two references, in one run on one machine.
//
// Three servers, each a process of its own with the same key pair and TLS settings, take turns: the
// image-registry binary with authorization on, distribution's own registry program, built from its module
// and without any authorization, and a bare http.ServeContent file server. Both registries keep their
// content in file systems below one temporary directory. The image API and the reviews of tokens come
// from a fourth process, which keeps them in memory, so that its processor time is known apart. The load
// comes from this process.
//
// Out comes a Markdown document: throughput as the median of the rounds with the lowest and the highest,
// the ratios to the references, processor time of each server for one request, latencies of lists,
// memory, the time until a registry with content is ready, and the budgets with what was reached.
// Nothing is asserted unless -check is given. It never touches anything outside its directory.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// options of a run.
type options struct {
	full   bool
	check  bool
	http2  bool
	only   *regexp.Regexp
	rounds int
	// each is how long one contender is measured in one round.
	each time.Duration
	dir  string
	// profile is where CPU profiles of the registry go, "" for none.
	profile string
	// pulled and pushed bound the bytes that all clients of one measurement move at the same time.
	pulled, pushed int64
	deadline       time.Duration
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == "serve" {
		if err := serveRole(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "registry bench:", err)
			os.Exit(1)
		}
		return
	}
	o, err := parseFlags(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "registry bench:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, o.deadline)
	defer cancel()
	missed, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "registry bench:", err)
		os.Exit(1)
	}
	if o.check && missed > 0 {
		os.Exit(1)
	}
}

func parseFlags(args []string) (options, error) {
	var o options
	var only string
	flags := flag.NewFlagSet("registry", flag.ContinueOnError)
	flags.BoolVar(&o.full, "full", false, "more rounds, longer measurements, and pushes that take much disk")
	flags.BoolVar(&o.check, "check", false, "exit with 1 when a budget is missed")
	flags.BoolVar(&o.http2, "http2", false, "let clients use HTTP/2; most container runtimes use HTTP/1.1")
	flags.StringVar(&only, "only", "", "regular expression on the names of the measurements")
	flags.IntVar(&o.rounds, "rounds", 0, "rounds of each measurement (3, with -full 5)")
	flags.DurationVar(&o.each, "each", 0, "length of one measurement (250ms, with -full 2s)")
	flags.StringVar(&o.dir, "dir", "", "where the temporary directory is made")
	flags.StringVar(&o.profile, "profile", "", "directory for CPU profiles of the registry, which then runs inside this program")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %s", strings.Join(flags.Args(), " "))
	}
	pattern, err := regexp.Compile(only)
	if err != nil {
		return o, fmt.Errorf("-only: %w", err)
	}
	o.only = pattern
	rounds, each := 3, 250*time.Millisecond
	o.pulled, o.pushed, o.deadline = 2<<30, 200<<20, 10*time.Minute
	if o.full {
		rounds, each = 5, 2*time.Second
		o.pulled, o.pushed, o.deadline = 16<<30, 16<<30, 90*time.Minute
	}
	if o.rounds <= 0 {
		o.rounds = rounds
	}
	if o.each <= 0 {
		o.each = each
	}
	return o, nil
}

// run measures everything and prints the document. It returns how many budgets were missed.
func run(ctx context.Context, o options) (missed int, err error) {
	dir, err := os.MkdirTemp(o.dir, "registry-bench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a directory that stays is seen
	field, err := newField(ctx, dir, o)
	if err != nil {
		return 0, err
	}
	defer field.stop()
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\nlast lines of this registry:\n%s", err, tail(field.log(contenderOurs)))
		}
	}()
	if err := field.seed(ctx); err != nil {
		return 0, fmt.Errorf("fill the registries: %w", err)
	}
	report := newReport(o)
	for _, w := range workloads(o) {
		if !o.only.MatchString(w.name) {
			continue
		}
		row, err := field.measure(ctx, w)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", w.name, err)
		}
		report.add(row)
		fmt.Fprintln(os.Stderr, row.progress())
	}
	if o.only.MatchString("memory") {
		if err := field.measureMemory(ctx, report); err != nil {
			return 0, fmt.Errorf("memory: %w", err)
		}
	}
	if o.only.MatchString("start") {
		if err := field.measureStart(ctx, report); err != nil {
			return 0, fmt.Errorf("start: %w", err)
		}
	}
	return report.print(os.Stdout), nil
}
