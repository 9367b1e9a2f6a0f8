package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"image.alauda.io/registry/test/bench/pruner/generate"
	"image.alauda.io/registry/test/bench/pruner/processes"
)

const realHeader = "| Images | Streams | Pods | Run | Time | Budget | Processor time of the pruner | of the servers | Peak RSS | Budget | Requests | Changes per second | Read | Outcome |\n" +
	"|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"

// measureReal fills a real API, plans, and carries the plan out if it is asked to. A second run then finds
// nothing.
func measureReal(ctx context.Context, images int, confirm bool, profiles string) (rows []string, err error) {
	directory, err := os.MkdirTemp("", "bench-pruner-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(directory)) }()
	begin := time.Now()
	c, end, err := startReal(ctx, images, directory)
	if err != nil {
		return nil, err
	}
	defer end()
	fmt.Fprintf(os.Stderr, "%d images and what uses them were stored and served within %s\n", images, time.Since(begin).Round(time.Second))
	runs := []string{"plan"}
	if confirm {
		runs = append(runs, "carried out", "plan again")
	}
	offset := int64(0)
	for _, name := range runs {
		profile := ""
		if profiles != "" && name == runs[0] {
			profile = filepath.Join(profiles, fmt.Sprintf("real-%d", images))
		}
		row, next, err := c.measure(ctx, name, directory, profile, offset)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", name, err)
		}
		rows, offset = append(rows, row), next
	}
	return rows, nil
}

// realCluster is a running realapi.
type realCluster struct {
	served
	images     int
	kubeconfig string
}

// served is what realapi prints.
type served struct {
	Host, Token string
	CA          []byte
	Audit       string
	PIDs        map[string]int
}

// startReal builds and starts realapi, which is a program of its own so that the pruner's process, which is this
// program, has nothing of the servers in it.
func startReal(ctx context.Context, images int, directory string) (*realCluster, func(), error) {
	program := filepath.Join(directory, "realapi")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "image.alauda.io/registry/test/bench/pruner/realapi")
	if output, err := build.CombinedOutput(); err != nil {
		return nil, nil, fmt.Errorf("go build: %w: %s", err, output)
	}
	c := &realCluster{images: images, kubeconfig: filepath.Join(directory, "kubeconfig")}
	line, end, err := start(ctx, program, strconv.Itoa(images), directory)
	if err != nil {
		return nil, nil, err
	}
	if err = json.Unmarshal([]byte(line), &c.served); err == nil {
		err = writeKubeconfig(c.kubeconfig, &rest.Config{
			Host: c.Host, TLSClientConfig: rest.TLSClientConfig{CAData: c.CA}, BearerToken: c.Token, DisableCompression: true,
		})
	}
	if err != nil {
		end()
		return nil, nil, err
	}
	return c, end, nil
}

// measure runs the pruner once. offset is how far the audit log was read.
func (c *realCluster) measure(ctx context.Context, name, directory, profile string, offset int64) (string, int64, error) {
	cluster := generate.Large(c.images)
	r := result{
		images: c.images, streams: cluster.Lists[generate.ImageStreams].Len(), pods: cluster.Lists[generate.Pods].Len(),
	}
	args := []string{"--kubeconfig=" + c.kubeconfig}
	if name == "carried out" {
		args = append(args, "--confirm")
	}
	before, err := processes.Used(c.PIDs)
	if err != nil {
		return "", 0, err
	}
	if err := r.run(ctx, directory, profile, args...); err != nil {
		return "", 0, err
	}
	after, err := processes.Used(c.PIDs)
	if err != nil {
		return "", 0, err
	}
	verbs, offset, err := c.asked(offset)
	if err != nil {
		return "", 0, err
	}
	r.served = after - before
	for verb, count := range verbs {
		if r.requests += count; verb == "delete" || verb == "update" {
			r.changes += count
		}
	}
	return r.realRow(name), offset, nil
}

func (r result) realRow(name string) string {
	limit, memory := budget(r.images)
	rate, allowed := "", fmt.Sprintf("%.0f s", limit.Seconds())
	if r.changes > 0 {
		rate, allowed = fmt.Sprintf("%.0f", float64(r.changes)/r.took.Seconds()), ""
	}
	return fmt.Sprintf("| %d | %d | %d | %s | %.1f s | %s | %.1f s | %.1f s | %d MiB | %d MiB | %d | %s | %d MiB | %s |\n",
		r.images, r.streams, r.pods, name, r.took.Seconds(), allowed, r.cpu.Seconds(), r.served.Seconds(), r.peak>>10, memory,
		r.requests, rate, r.read>>20, r.summary)
}

// asked returns what the pruner asked since the offset, by verb, and the new offset.
func (c *realCluster) asked(offset int64) (map[string]int, int64, error) {
	file, err := os.Open(c.Audit)
	if errors.Is(err, os.ErrNotExist) {
		return map[string]int{}, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return nil, 0, err
	}
	text, err := io.ReadAll(file)
	if err != nil {
		return nil, 0, err
	}
	whole := bytes.LastIndexByte(text, '\n') + 1
	verbs := map[string]int{}
	for line := range strings.Lines(string(text[:whole])) {
		var event struct{ Verb string }
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			return nil, 0, fmt.Errorf("audit log: %w", err)
		}
		verbs[event.Verb]++
	}
	return verbs, offset + int64(whole), nil
}
