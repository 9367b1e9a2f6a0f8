package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	slowDownloads = 1000
	// stockDownloads are fewer: each takes 4 MiB of that server.
	stockDownloads  = 128
	parallelUploads = 100
	slowPause       = 250 * time.Millisecond
	slowPart        = 16 * kib
)

// memoryRow is what a number of open transfers cost a server.
type memoryRow struct {
	what, contender   string
	transfers         int
	before, peak      int64
	perTransfer, high int64
}

// measureMemory restarts each server first, so that nothing of the measurements before counts.
func (f *field) measureMemory(ctx context.Context, r *report) error {
	for _, c := range f.contenders {
		count := slowDownloads
		if c.name == contenderStock {
			count = stockDownloads
		}
		row, err := f.memoryOf(ctx, c, "slow downloads of 100 MiB", count, f.slowDownload)
		if err != nil {
			return err
		}
		r.memory = append(r.memory, row)
		if c.storage == "" {
			continue
		}
		if row, err = f.memoryOf(ctx, c, "parallel uploads of 8 MiB", parallelUploads, f.slowUpload); err != nil {
			return err
		}
		r.memory = append(r.memory, row)
		if err := f.clean(c); err != nil {
			return err
		}
	}
	return nil
}

func (f *field) memoryOf(ctx context.Context, c *contender, what string, count int, transfer func(context.Context, *contender, int) error) (memoryRow, error) {
	row := memoryRow{what: what, contender: c.name, transfers: count}
	c.stop()
	if _, err := c.start(ctx); err != nil {
		return row, err
	}
	if err := f.warmUp(ctx, c); err != nil {
		return row, err
	}
	row.before = c.memory("RssAnon")
	duration := 4 * time.Second
	if f.options.full {
		duration = 15 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, duration+time.Minute)
	defer cancel()
	transfers, stop := context.WithTimeout(ctx, duration)
	defer stop()
	stopProfile := f.profile(workload{name: what, clients: count}, c)
	profileEnd := time.AfterFunc(duration/2, stopProfile) // while the transfers are open
	defer profileEnd.Stop()
	failures := make(chan error, count)
	var group sync.WaitGroup
	for i := range count {
		group.Go(func() {
			if err := transfer(transfers, c, i); err != nil && transfers.Err() == nil {
				failures <- err
				stop()
			}
		})
	}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for transfers.Err() == nil {
		<-ticker.C
		row.peak = max(row.peak, c.memory("RssAnon"))
	}
	group.Wait()
	row.high = c.memory("VmHWM")
	row.perTransfer = (row.peak - row.before) / int64(count)
	select {
	case err := <-failures:
		return row, fmt.Errorf("%s, %s: %w", c.name, what, err)
	default:
		return row, nil
	}
}

// warmUp lets caches and pools exist before memory is looked at. This registry reads all its repositories from the
// image API in the background; a page of the catalog waits for that, which would otherwise be counted as memory of
// the transfers.
func (f *field) warmUp(ctx context.Context, c *contender) error {
	client := f.client(1)
	defer client.CloseIdleConnections()
	if c.api != nil {
		if err := get("/v2/_catalog?n=10")(ctx, f, client, c, 0); err != nil {
			return err
		}
	}
	for range 20 {
		if err := pullBlob(1)(ctx, f, client, c, 0); err != nil {
			return err
		}
	}
	return nil
}

// dial opens a connection without the buffers of a client.
func (f *field) dial(ctx context.Context, c *contender) (*tls.Conn, error) {
	dialer := &tls.Dialer{Config: f.pair.client}
	connection, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(c.url, "https://"))
	if err != nil {
		return nil, err
	}
	return connection.(*tls.Conn), nil
}

// slowDownload reads a few bytes now and then until the time is up.
func (f *field) slowDownload(ctx context.Context, c *contender, _ int) error {
	connection, err := f.dial(ctx, c)
	if err != nil {
		return err
	}
	defer connection.Close() //nolint:errcheck // it is given up
	layer := f.image.layers[2]
	path := "/v2/" + pullRepository + "/blobs/" + layer.digest.String()
	if c.storage == "" {
		path = "/" + layer.digest.Encoded()
	}
	if err := writeRequest(connection, c, http.MethodGet, path, nil); err != nil {
		return err
	}
	reader := bufio.NewReaderSize(connection, 4*kib)
	if err := readStatus(reader, http.StatusOK); err != nil {
		return err
	}
	buffer := make([]byte, slowPart)
	for sleep(ctx) {
		if _, err := io.ReadFull(reader, buffer); err != nil {
			return err
		}
	}
	return nil
}

// slowUpload sends a chunk in parts and never ends it.
func (f *field) slowUpload(ctx context.Context, c *contender, number int) error {
	client := f.client(1)
	defer client.CloseIdleConnections()
	repository := fmt.Sprintf("%s/push-memory-%d", benchNamespace, number%16)
	started, err := do(ctx, client, call{method: http.MethodPost, url: c.url + "/v2/" + repository + "/blobs/uploads/", token: c.token, status: http.StatusAccepted})
	if err != nil {
		return err
	}
	target, err := location(c, started.header, "")
	if err != nil {
		return err
	}
	connection, err := f.dial(ctx, c)
	if err != nil {
		return err
	}
	defer connection.Close() //nolint:errcheck // it is given up
	header := http.Header{"Content-Type": {"application/octet-stream"}, "Content-Length": {fmt.Sprint(8 * mib)}}
	if err := writeRequest(connection, c, http.MethodPatch, strings.TrimPrefix(target, c.url), header); err != nil {
		return err
	}
	part := make([]byte, 256*kib)
	for sent := 0; sent < 8*mib-len(part) && sleep(ctx); sent += len(part) {
		if _, err := connection.Write(part); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

func writeRequest(w io.Writer, c *contender, method, path string, header http.Header) error {
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, strings.TrimPrefix(c.url, "https://"))
	if c.token != "" {
		text += "Authorization: Bearer " + c.token + "\r\n"
	}
	for key := range header {
		text += key + ": " + header.Get(key) + "\r\n"
	}
	_, err := io.WriteString(w, text+"\r\n")
	return err
}

func readStatus(reader *bufio.Reader, want int) error {
	response, err := http.ReadResponse(reader, nil) //nolint:bodyclose // the connection is read directly
	if err != nil {
		return err
	}
	if response.StatusCode != want {
		return fmt.Errorf("status %d, want %d", response.StatusCode, want)
	}
	return nil
}

// sleep pauses between parts and tells whether to go on.
func sleep(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(slowPause):
		return true
	}
}

// startRow is how long a server takes from its start until it is ready.
type startRow struct {
	contender string
	took      []time.Duration
}

// measureStart starts the registries anew over everything that is stored.
func (f *field) measureStart(ctx context.Context, r *report) error {
	for _, c := range f.contenders {
		if c.storage == "" {
			continue
		}
		row := startRow{contender: c.name}
		for range f.options.rounds {
			c.stop()
			took, err := c.start(ctx)
			if err != nil {
				return err
			}
			row.took = append(row.took, took)
		}
		r.starts = append(r.starts, row)
	}
	return nil
}
