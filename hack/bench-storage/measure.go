package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/util/wait"

	"image.alauda.io/registry/pkg/imageapiserver/storage/transfer"
	"image.alauda.io/registry/test/controlplane"
)

var columns = []string{
	"backend", "images", "write/s", "etcd MiB", "kube-apiserver MiB", "server ready s", "server MiB",
	"images s", "images MB", "peak MiB", "images paged s", "peak MiB", "streams s", "streams paged s", "streams from cache s", "peak MiB",
	"get ms", "create ms",
}

const (
	imagesPath  = "/apis/image.alauda.io/v1/images"
	streamsPath = "/apis/image.alauda.io/v1/imagestreams"
	etcdPrefix  = "/bench"
	samples     = 200
)

// measure fills a new control plane and returns a row of the table.
func measure(ctx context.Context, backend string, images int, profiles string) (row []string, err error) {
	cp, err := controlplane.New()
	if err != nil {
		return nil, err
	}
	defer cp.Stop()
	if err := prepare(ctx, cp); err != nil {
		return nil, err
	}
	o := transfer.NewOptions()
	o.Kubeconfig = cp.Kubeconfig()
	flags := []string{"--image-storage=" + backend}
	if backend == transfer.Etcd {
		o.Etcd.StorageConfig.Transport.ServerList, o.Etcd.StorageConfig.Prefix = []string{cp.EtcdEndpoint}, etcdPrefix
		flags = append(flags, "--etcd-servers="+cp.EtcdEndpoint, "--etcd-prefix="+etcdPrefix)
	}
	rate, err := fill(ctx, o, backend, images)
	if err != nil {
		return nil, err
	}
	space, err := etcdSize(ctx, cp.EtcdEndpoint)
	if err != nil {
		return nil, err
	}
	s, err := startServer(ctx, cp, flags)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	m := &measurement{server: s, pid: s.command.Process.Pid}
	kube, err := child("kube-apiserver")
	if err != nil {
		return nil, err
	}
	kubeMemory, err := memoryOf(kube)
	if err != nil {
		return nil, err
	}
	idle, err := memoryOf(m.pid)
	if err != nil {
		return nil, err
	}
	m.add(backend, images, fmt.Sprintf("%.0f", rate), space>>20, kubeMemory.now, seconds(s.started), idle.now)
	if profiles != "" {
		name := filepath.Join(profiles, fmt.Sprintf("%s-%d", backend, images))
		defer func() { err = errors.Join(err, m.profile(ctx, name)) }()
	}
	m.lists(ctx)
	m.latencies(ctx, images)
	return m.row, m.err
}

// fill stores the objects and returns how many were written in a second.
func fill(ctx context.Context, o *transfer.Options, backend string, images int) (float64, error) {
	var store *transfer.Store
	var last error
	// The record kinds are served some moments after they were created.
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, startPatience, true, func(ctx context.Context) (bool, error) {
		store, last = o.Open(ctx, backend)
		return last == nil, nil
	})
	if err != nil {
		return 0, errors.Join(err, last)
	}
	defer store.Close()
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(writeObjects(writer, images)) }()
	begin := time.Now()
	var failures []string
	summary, err := transfer.Import(ctx, store, reader, false, func(format string, args ...any) {
		failures = append(failures, fmt.Sprintf(format, args...))
	})
	if err != nil {
		return 0, err
	}
	if summary.Incomplete() {
		return 0, fmt.Errorf("%d objects were not stored, the first: %s", len(failures), failures[0])
	}
	return float64(images+images/tagsPerStream) / time.Since(begin).Seconds(), nil
}

// etcdSize is the space in use, after compaction of what is not the latest.
func etcdSize(ctx context.Context, endpoint string) (int64, error) {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}})
	if err != nil {
		return 0, err
	}
	defer client.Close()
	status, err := client.Status(ctx, endpoint)
	if err != nil {
		return 0, err
	}
	return status.DbSizeInUse, nil
}

// measurement collects a row; the first error ends it.
type measurement struct {
	server *server
	pid    int
	row    []string
	err    error
}

func (m *measurement) add(values ...any) {
	for _, value := range values {
		m.row = append(m.row, fmt.Sprint(value))
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }

// timed runs a step and returns how long it took and how much memory the server had at most.
func (m *measurement) timed(step func() error) (time.Duration, int) {
	if m.err != nil {
		return 0, 0
	}
	if m.err = resetPeak(m.pid); m.err != nil {
		return 0, 0
	}
	begin := time.Now()
	m.err = step()
	took := time.Since(begin)
	used, err := memoryOf(m.pid)
	m.err = errors.Join(m.err, err)
	return took, used.peak
}

func (m *measurement) lists(ctx context.Context) {
	var size int64
	whole := func(path string) func() error {
		return func() (err error) {
			size, err = m.server.get(ctx, path, io.Discard)
			return err
		}
	}
	paged := func(path string) func() error { return func() error { return m.pages(ctx, path) } }
	took, peak := m.timed(whole(imagesPath))
	m.add(seconds(took), size/1000000, peak)
	took, peak = m.timed(paged(imagesPath))
	m.add(seconds(took), peak)
	all, first := m.timed(whole(streamsPath))
	pages, second := m.timed(paged(streamsPath))
	cached, third := m.timed(whole(streamsPath + "?resourceVersion=0"))
	m.add(seconds(all), seconds(pages), seconds(cached), max(first, second, third))
}

// pages lists as kubectl does.
func (m *measurement) pages(ctx context.Context, path string) error {
	for next := ""; ; {
		var body bytes.Buffer
		if _, err := m.server.get(ctx, path+"?limit=500&continue="+url.QueryEscape(next), &body); err != nil {
			return err
		}
		var page struct{ Metadata struct{ Continue string } }
		if err := json.Unmarshal(body.Bytes(), &page); err != nil {
			return err
		}
		if next = page.Metadata.Continue; next == "" {
			return nil
		}
	}
}

// latencies adds median and 99th percentile of single requests.
func (m *measurement) latencies(ctx context.Context, images int) {
	sample := func(request func(i int) error) string {
		var took []time.Duration
		for i := range samples {
			if m.err != nil {
				return ""
			}
			begin := time.Now()
			m.err = request(i)
			took = append(took, time.Since(begin))
		}
		slices.Sort(took)
		return fmt.Sprintf("%.1f/%.1f", took[samples/2].Seconds()*1000, took[samples*99/100].Seconds()*1000)
	}
	m.add(sample(func(i int) error {
		_, err := m.server.get(ctx, imagesPath+"/"+image(i*images/samples).Name, io.Discard)
		return err
	}), sample(func(i int) error {
		obj := image(images + i)
		obj.UID = ""
		body, err := json.Marshal(obj)
		if err != nil {
			return err
		}
		_, err = m.server.request(ctx, http.MethodPost, imagesPath, bytes.NewReader(body), io.Discard)
		return err
	}))
}

// profile writes where the time of full lists goes, and what is in memory afterwards.
func (m *measurement) profile(ctx context.Context, name string) error {
	fetch := func(path, file string) error {
		out, err := os.Create(file)
		if err != nil {
			return err
		}
		_, err = m.server.get(ctx, path, out)
		return errors.Join(err, out.Close())
	}
	done := make(chan error, 1)
	go func() { done <- fetch("/debug/pprof/profile?seconds=10", name+".cpu") }()
	for begin := time.Now(); time.Since(begin) < 10*time.Second; {
		if _, err := m.server.get(ctx, imagesPath, io.Discard); err != nil {
			return err
		}
	}
	return errors.Join(<-done, fetch("/debug/pprof/heap?gc=1", name+".heap"), fetch("/debug/pprof/allocs", name+".allocs"))
}
