// Command node-ca makes a node trust the registry and find it by its service name.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"image.alauda.io/registry/pkg/nodeca/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(app.Run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
