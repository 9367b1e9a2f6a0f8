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

const (
	// readSize is how much of a download is read at a time. It becomes one TLS record.
	readSize = 16<<10 - recordExtra
	// gatherSize has room for three such records. With four the system would divide them again, because it
	// carries at most 64 KiB at a time.
	gatherSize = 3 * (readSize + recordExtra)
	// recordExtra is more than any cipher adds to a record.
	recordExtra = 96
)

// buffers are lent to downloads; the standard library would allocate one for each. One has room for what
// is read and for the records that wait.
var buffers = sync.Pool{New: func() any { return new([readSize + gatherSize]byte) }}

// response counts what is sent and tells the watch when it waits for the client.
type response struct {
	http.ResponseWriter
	watch       *watch
	gatherer    *gatherer // nil where records are not gathered
	status      int
	wroteHeader bool
	failed      bool
	bytes       int64
	firstByte   time.Time
}

func newResponse(w http.ResponseWriter, r *http.Request, watch *watch) *response {
	return &response{ResponseWriter: w, watch: watch, gatherer: gathererOf(r), status: http.StatusOK}
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
func (r *response) ReadFrom(source io.Reader) (n int64, err error) {
	buffer := buffers.Get().(*[readSize + gatherSize]byte)
	defer buffers.Put(buffer)
	if r.gatherer == nil {
		n, err = io.CopyBuffer(writerOnly{r}, readerOnly{source}, buffer[:])
		r.failed = r.failed || err != nil
		return n, err
	}
	r.gatherer.lend(buffer[readSize:])
	defer func() {
		lost, failure := 0, error(nil)
		r.waiting(func() { lost, failure = r.gatherer.giveBack() })
		if r.bytes = max(0, r.bytes-int64(lost)); err == nil {
			err = failure
		}
		r.failed = r.failed || err != nil
	}()
	return r.gather(source, buffer[:readSize])
}

// gather lets records wait for each other as long as the source gives all that it is asked for. One that gives less
// may let its reader wait, so what is there goes to the client first.
func (r *response) gather(source io.Reader, buffer []byte) (total int64, err error) {
	for {
		n, readErr := source.Read(buffer)
		if n > 0 {
			written, err := r.Write(buffer[:n])
			total += int64(written)
			if err == nil && n < len(buffer) {
				r.waiting(func() { err = r.gatherer.send() })
			}
			if err != nil {
				return total, err
			}
		}
		switch {
		case errors.Is(readErr, io.EOF):
			return total, nil
		case readErr != nil:
			return total, readErr
		}
	}
}

// waiting tells the watch that a call waits for the client.
func (r *response) waiting(call func()) {
	r.watch.waits(&r.watch.writing)
	defer r.watch.goesOn(&r.watch.writing)
	call()
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
	var err error
	r.waiting(func() { err = r.watch.control.Flush() })
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
