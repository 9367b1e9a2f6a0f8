// Command realapi serves a generated cluster from a real kube-apiserver and etcd with image-api-server behind
// them, for the benchmark of the pruner.
//
// In: the number of images and a folder for its files. Out: a line of JSON with an address, a token with the
// rights of the pruner's shipped role, the processes, and an audit log of what the pruner asks. It runs until it
// is told to end, and everything that it started ends with it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"

	"image.alauda.io/registry/pkg/imageapiserver/app"
)

// imageAPIRole makes this program the image API.
const imageAPIRole = "image-api-server"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == imageAPIRole {
		os.Exit(app.Run(ctx, os.Args[2:], os.Stdout, os.Stderr))
	}
	// Children that end with their parent end with the thread that started them.
	runtime.LockOSThread()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "realapi: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return errors.New("arguments: the number of images and a folder")
	}
	images, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	c, err := startReal(ctx, images, args[1])
	if err != nil {
		return err
	}
	defer c.stop()
	if err := json.NewEncoder(os.Stdout).Encode(c.served); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
