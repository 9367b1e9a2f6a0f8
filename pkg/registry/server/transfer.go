package server

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// statusClientGone is logged for requests whose client left. It is never sent.
const statusClientGone = 499

const bufferSize = 64 << 10

// buffers are lent to downloads; the standard library would allocate one for each.
var buffers = sync.Pool{New: func() any {
	buffer := make([]byte, bufferSize)
	return &buffer
}}

// response counts what is sent and tells the watch when it waits for the client.
type response struct {
	http.ResponseWriter
	watch       *watch
	status      int
	wroteHeader bool
	failed      bool
	bytes       int64
	firstByte   time.Time
}

func newResponse(w http.ResponseWriter, watch *watch) *response {
	return &response{ResponseWriter: w, watch: watch, status: http.StatusOK}
}

// Unwrap lets http.ResponseController find the connection.
func (r *response) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *response) WriteHeader(status int) {
	if !r.wroteHeader && status >= http.StatusOK {
		r.status, r.wroteHeader, r.firstByte = status, true, time.Now()
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *response) Write(p []byte) (int, error) {
	if !r.wroteHeader {
		r.WriteHeader(http.StatusOK)
	}
	r.watch.waits(&r.watch.writing)
	n, err := r.ResponseWriter.Write(p)
	r.watch.goesOn(&r.watch.writing)
	r.bytes += int64(n)
	r.failed = r.failed || err != nil
	return n, err
}

// ReadFrom sends a stream through a lent buffer.
func (r *response) ReadFrom(source io.Reader) (int64, error) {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	n, err := io.CopyBuffer(writerOnly{r}, readerOnly{source}, *buffer)
	r.failed = r.failed || err != nil
	return n, err
}

// writerOnly and readerOnly hide the methods by which io.CopyBuffer would go around
// the buffer.
type writerOnly struct{ io.Writer }

type readerOnly struct{ io.Reader }

// flush brings what the server still holds of a long answer to the client while the watch looks. It tells whether the
// client takes no more.
func (r *response) flush() (failed bool) {
	if r.bytes < flushedSize || r.failed {
		return r.failed
	}
	r.watch.waits(&r.watch.writing)
	err := r.watch.control.Flush()
	r.watch.goesOn(&r.watch.writing)
	r.failed = err != nil && !errors.Is(err, http.ErrNotSupported)
	return r.failed
}

// flushedSize is what fits into the system's send buffer anyway.
const flushedSize = 128 << 10

// body counts what is received and tells the watch when it waits for the client.
type body struct {
	io.ReadCloser
	watch *watch
	bytes int64
	ended bool
}

func newBody(original io.ReadCloser, watch *watch) *body {
	return &body{ReadCloser: original, watch: watch}
}

func (b *body) Read(p []byte) (int, error) {
	b.watch.waits(&b.watch.reading)
	n, err := b.ReadCloser.Read(p)
	b.watch.goesOn(&b.watch.reading)
	b.bytes += int64(n)
	b.ended = b.ended || err != nil
	return n, err
}

// finish limits how long the server waits for the rest of a body that nobody read.
func (b *body) finish() {
	if !b.ended && b.watch.timeout > 0 && b.ReadCloser != http.NoBody {
		_ = b.watch.control.SetReadDeadline(time.Now().Add(headerTimeout))
	}
}
