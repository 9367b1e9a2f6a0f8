// Command up takes a machine, or the cluster of the current kubeconfig, to a running registry.
//
// It is what `make up` runs. Each step prints one line with the time since the start; a step that
// fails prints the reason and where to look, and the next run goes on from what is there: every step
// asks first whether its work is done already.
//
// Steps with the development cluster: check the machine, start the cluster, build the images, load
// them into the nodes, install the operator, enable the registry, push a sample image and run a Pod
// from it. With --cluster=current the first three become "push the images to --image-registry".
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	options := defaultOptions()
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	flags.SetOutput(stderr)
	options.addFlags(flags)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if err := options.validate(); err != nil {
		fmt.Fprintf(stderr, "up: %v\n", err)
		return 2
	}
	out := &progress{out: stdout, start: time.Now()}
	if err := bringUp(ctx, options, out); err != nil {
		fmt.Fprintf(stderr, "\nup: %v\n", err)
		var hint hintedError
		if errors.As(err, &hint) {
			fmt.Fprintf(stderr, "look at: %s\n", hint.hint)
		}
		return 1
	}
	return 0
}

// options are the settings of one run.
type options struct {
	// root is the checkout.
	root string
	// cluster is "dev" for the development cluster, "current" for the one of the kubeconfig.
	cluster string
	// imageRegistry is where a foreign cluster pulls the product's images from, host[:port][/path].
	imageRegistry string
	// platforms are built for a foreign cluster, a list like linux/amd64,linux/arm64.
	platforms string
	// nodes is how many nodes the development cluster has, 1 to 9.
	nodes int
	// timeout bounds each wait for the cluster.
	timeout time.Duration
}

func defaultOptions() options {
	return options{root: ".", cluster: "dev", platforms: "linux/amd64,linux/arm64", nodes: 2, timeout: 5 * time.Minute}
}

func (o *options) addFlags(flags *flag.FlagSet) {
	flags.StringVar(&o.root, "root", o.root, "the checkout to build from")
	flags.StringVar(&o.cluster, "cluster", o.cluster, "dev: the development cluster of this machine; current: the cluster of the current kubeconfig")
	flags.StringVar(&o.imageRegistry, "image-registry", o.imageRegistry, "with --cluster=current: registry to push the product's images to, host[:port][/path]")
	flags.StringVar(&o.platforms, "platforms", o.platforms, "with --cluster=current: platforms of the cluster's nodes")
	flags.IntVar(&o.nodes, "nodes", o.nodes, "nodes of the development cluster, 1 to 9")
	flags.DurationVar(&o.timeout, "timeout", o.timeout, "how long to wait for each part to become ready")
}

func (o *options) validate() error {
	switch {
	case o.cluster != "dev" && o.cluster != "current":
		return fmt.Errorf("--cluster=%s: must be dev or current", o.cluster)
	case o.cluster == "current" && o.imageRegistry == "":
		return errors.New("--cluster=current needs --image-registry (make up CLUSTER=current IMAGE_REGISTRY=host/path): the registry from which the cluster can pull the operator's own images")
	case o.nodes < 1 || o.nodes > 9:
		return fmt.Errorf("--nodes=%d: must be 1 to 9", o.nodes)
	case o.timeout <= 0:
		return errors.New("--timeout must be positive")
	}
	return nil
}

// progress prints steps with the time since the start.
type progress struct {
	out   io.Writer
	start time.Time
}

func (p *progress) step(format string, args ...any) {
	fmt.Fprintf(p.out, "[%6.1fs] %s\n", time.Since(p.start).Seconds(), fmt.Sprintf(format, args...))
}

// hintedError says where to look for more than the error itself tells.
type hintedError struct {
	err  error
	hint string
}

func (e hintedError) Error() string { return e.err.Error() }
func (e hintedError) Unwrap() error { return e.err }

func hinted(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return hintedError{err: err, hint: fmt.Sprintf(format, args...)}
}

func bringUp(ctx context.Context, o options, out *progress) error {
	env, err := prepareCluster(ctx, o, out)
	if err != nil {
		return err
	}
	product := &product{env: env, out: out, timeout: o.timeout}
	if err := product.install(ctx); err != nil {
		return err
	}
	if err := product.enable(ctx); err != nil {
		return err
	}
	sample := &sample{product: product}
	if err := sample.run(ctx); err != nil {
		return err
	}
	printNextSteps(out.out, env, sample)
	return nil
}
