// Command cluster-image-registry-operator installs and runs the image registry of a cluster.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"image.alauda.io/registry/pkg/operator/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(app.Run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
