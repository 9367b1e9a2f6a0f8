package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/rest"

	"image.alauda.io/registry/pkg/pruner/app"
	"image.alauda.io/registry/test/bench/pruner/fakeapi"
	"image.alauda.io/registry/test/bench/pruner/generate"
	"image.alauda.io/registry/test/bench/pruner/processes"
)

const (
	// serveRole makes this program the server of a generated cluster, pruneRole the pruner.
	serveRole = "serve-cluster"
	pruneRole = "prune"
	// peakFile and profileVariable name where the pruner leaves its peak memory and its profiles.
	peakVariable    = "BENCH_PRUNER_PEAK"
	profileVariable = "BENCH_PRUNER_PROFILE"
)

// serve prints its address, and then serves until it is told to end. GET /bench tells what was asked.
func serve(ctx context.Context, args []string) int {
	images, err := strconv.Atoi(args[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	api := fakeapi.New(generate.Large(images))
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if request.URL.Path != "/bench" {
			api.ServeHTTP(w, request)
			return
		}
		requests, size := api.Requests()
		_, _, cpu, _ := processes.Stat(os.Getpid())              // of this very process
		_ = json.NewEncoder(w).Encode(load{requests, size, cpu}) // who left does not read it
	})}
	fmt.Println(listener.Addr())
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// load is what a server was asked.
type load struct {
	Requests map[string]int
	Bytes    int64
	CPU      time.Duration
}

// prune is the program `pruner`, which leaves how much memory it had at most.
func prune(ctx context.Context, args []string) int {
	profile := os.Getenv(profileVariable)
	if profile != "" {
		file, err := os.Create(profile + "-cpu.pprof")
		if err != nil || pprof.StartCPUProfile(file) != nil {
			fmt.Fprintln(os.Stderr, "no profile:", err)
			return 1
		}
	}
	code := app.Run(ctx, args, os.Stdout, os.Stderr)
	if profile != "" {
		pprof.StopCPUProfile()
		runtime.GC()
		if file, err := os.Create(profile + "-heap.pprof"); err == nil {
			_ = pprof.Lookup("allocs").WriteTo(file, 0) // a missing profile is seen
			_ = file.Close()
		}
	}
	status, err := os.ReadFile("/proc/self/status")
	transfer, ioErr := os.ReadFile("/proc/self/io")
	if err = errors.Join(err, ioErr); err == nil {
		err = os.WriteFile(os.Getenv(peakVariable), append(status, transfer...), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

type result struct {
	images, streams, pods int
	took, cpu             time.Duration
	// served is the processor time of the servers.
	served time.Duration
	// peak is in KiB.
	peak     int
	requests int
	// bytes of answers; read is everything that the pruner's process read.
	bytes, read int64
	summary     string
	// changes are the requests that delete or write.
	changes int
}

// measure plans once on a cluster of a size.
func measure(ctx context.Context, images int, profiles string) (r result, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	directory, err := os.MkdirTemp("", "bench-pruner-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(directory)) }()
	address, end, err := startServer(ctx, images)
	if err != nil {
		return r, err
	}
	defer end()
	cluster := generate.Large(images)
	r = result{images: images, streams: cluster.Lists[generate.ImageStreams].Len(), pods: cluster.Lists[generate.Pods].Len()}
	if profiles != "" {
		profiles = filepath.Join(profiles, strconv.Itoa(images))
	}
	kubeconfig := filepath.Join(directory, "kubeconfig")
	if err := writeKubeconfig(kubeconfig, &rest.Config{Host: "http://" + address, DisableCompression: true}); err != nil {
		return r, err
	}
	before, err := loadOf(address)
	if err != nil {
		return r, err
	}
	if err := r.run(ctx, directory, profiles, "--kubeconfig="+kubeconfig); err != nil {
		return r, err
	}
	after, err := loadOf(address)
	if err != nil {
		return r, err
	}
	for _, count := range after.Requests {
		r.requests += count
	}
	r.bytes, r.served = after.Bytes, after.CPU-before.CPU
	return r, nil
}

// loadOf asks the server of a generated cluster.
func loadOf(address string) (asked load, err error) {
	answer, err := http.Get("http://" + address + "/bench")
	if err != nil {
		return asked, err
	}
	defer answer.Body.Close()
	return asked, json.NewDecoder(answer.Body).Decode(&asked)
}

// startServer starts the server of a generated cluster.
func startServer(ctx context.Context, images int) (address string, end func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	return start(ctx, self, serveRole, strconv.Itoa(images))
}

// start starts a program and returns the first line that it prints.
func start(ctx context.Context, program string, args ...string) (line string, end func(), err error) {
	command := exec.CommandContext(ctx, program, args...)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := command.Start(); err != nil {
		return "", nil, err
	}
	end = func() {
		_ = command.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		_ = command.Wait()                          // ended by a signal is no failure here
	}
	line, err = bufio.NewReader(output).ReadString('\n')
	if err != nil {
		end()
		return "", nil, fmt.Errorf("%s does not say where it is: %w", filepath.Base(program), err)
	}
	return strings.TrimSpace(line), end, nil
}

// run runs the pruner as a process of its own.
func (r *result) run(ctx context.Context, directory, profile string, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	peak := filepath.Join(directory, "peak")
	command := exec.CommandContext(ctx, self, append([]string{pruneRole, "images"}, args...)...)
	command.Env = append(os.Environ(), peakVariable+"="+peak, profileVariable+"="+profile)
	var output, problems bytes.Buffer
	command.Stdout, command.Stderr = &output, &problems
	begin := time.Now()
	if err := command.Run(); err != nil {
		return fmt.Errorf("the pruner ended with %w: %s", err, problems.String())
	}
	r.took = time.Since(begin)
	r.cpu = command.ProcessState.UserTime() + command.ProcessState.SystemTime()
	lines := strings.Split(strings.TrimSpace(output.String()), "\n")
	r.summary = strings.TrimPrefix(lines[len(lines)-1], "Summary: ")
	status, err := os.ReadFile(peak)
	if err != nil {
		return err
	}
	r.peak, r.read = int(processes.Figure(string(status), "VmHWM:")), processes.Figure(string(status), "rchar:")
	return nil
}
