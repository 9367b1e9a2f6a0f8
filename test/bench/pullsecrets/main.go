// Command pullsecrets measures what managed pull secrets cost on a large cluster.
//
// It starts a real kube-apiserver and etcd, makes namespaces and ServiceAccounts (2,000 and 10,000 unless flags
// say otherwise), and runs the operator as a process of its own with the rights of its ServiceAccount. Then it
// lets it fill the cluster, rest, restart, follow a change of hosts and, on request, a rotation of the signing
// key, and prints a table for docs/performance.md.
//
// Writes are counted from the audit log of the API server, not by the operator. Memory is what the kernel says
// of the operator's process. It asserts nothing: the smaller run of the tests does.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options are the size of a run.
type options struct {
	accounts, namespaces int
	// rest is how long the operator is watched while there is nothing to do.
	rest time.Duration
	// rotate lets the signing key be replaced, which takes a quarter of an hour.
	rotate bool
	// hosts lets the hosts change, which takes the spread of five minutes and what the rate allows.
	hosts bool
	// hurry fills without the limit of the client, which says nothing of the time that a fill takes.
	hurry bool
	// profile is the directory for profiles of the operator's memory; empty makes none.
	profile string
}

func main() {
	if os.Getenv(childVariable) != "" {
		os.Exit(child())
	}
	o := options{}
	flag.IntVar(&o.accounts, "accounts", 10000, "number of ServiceAccounts")
	flag.IntVar(&o.namespaces, "namespaces", 2000, "number of namespaces")
	flag.DurationVar(&o.rest, "rest", 2*time.Minute, "how long to watch the operator at rest, and after its restart")
	flag.BoolVar(&o.hosts, "hosts", true, "change the hosts and measure how the change is spread")
	flag.BoolVar(&o.rotate, "rotate", false, "replace the signing key and measure how the replacement is spread")
	flag.BoolVar(&o.hurry, "hurry", false, "fill without the limit of the client, to measure what follows")
	flag.StringVar(&o.profile, "profile", "", "directory for profiles of the operator's memory")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	figures, err := measure(ctx, o, func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
	})
	if figures != nil {
		figures.print(os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pullsecrets:", err)
		os.Exit(1)
	}
}
