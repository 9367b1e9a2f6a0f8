// Command image-registry serves container images. See package app for what it does.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"image.alauda.io/registry/pkg/registry/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(app.Run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
