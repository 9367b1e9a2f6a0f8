// Command image-api-server serves the API group image.alauda.io.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"image.alauda.io/registry/pkg/imageapiserver/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(app.Run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
