// Command hello is the content of the sample image that the development cluster and its tests push,
// pull and run.
//
// It prints one line and waits for SIGTERM or SIGINT, so that a Pod made from it becomes Running and
// stops at once. Flags turn it into a few other things a test needs from a container: print a file,
// leave with a given exit code, or answer HTTP requests with the same line.
//
// It needs nothing but itself: no shell, no certificates, no network.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

type options struct {
	text   string
	file   string
	listen string
	exit   int
}

func main() {
	var o options
	flag.StringVar(&o.text, "text", "hello from the sample image", "line to print")
	flag.StringVar(&o.file, "print", "", "print this file instead of the line, and exit")
	flag.StringVar(&o.listen, "listen", "", "also answer HTTP requests on this address with the line")
	flag.IntVar(&o.exit, "exit", -1, "exit with this code instead of waiting")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	code, err := run(ctx, o, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "hello:", err)
	}
	os.Exit(code)
}

func run(ctx context.Context, o options, stdout io.Writer) (int, error) {
	if o.file != "" {
		data, err := os.ReadFile(o.file)
		if err != nil {
			return 1, err
		}
		if _, err := stdout.Write(data); err != nil {
			return 1, err
		}
		return max(o.exit, 0), nil
	}
	fmt.Fprintln(stdout, o.text)
	if o.exit >= 0 {
		return o.exit, nil
	}
	if o.listen != "" {
		return serve(ctx, o)
	}
	<-ctx.Done()
	return 0, nil
}

func serve(ctx context.Context, o options) (int, error) {
	server := &http.Server{
		Addr:              o.listen,
		ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(w, o.text)
		}),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return 1, err
	case <-ctx.Done():
		return 0, server.Close()
	}
}
