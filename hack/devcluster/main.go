// Command devcluster runs a real Kubernetes on one Linux machine without
// Docker: it builds every component from source, starts a control plane and any
// number of sandboxed nodes, and takes all of it away again. See README.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"image.alauda.io/registry/hack/devcluster/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
