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

// deadlines moves a deadline on with progress, but not for every few bytes: setting one
// costs a lock in the connection.
type deadlines struct {
	set     func(time.Time) error
	timeout time.Duration
	next    time.Time
}

func (d *deadlines) progress() {
	now := time.Now()
	if d.timeout <= 0 || now.Before(d.next) {
		return
	}
	d.next = now.Add(d.timeout / 16)
	_ = d.set(now.Add(d.timeout)) // writers of tests have no deadlines
}

// response counts what is sent and keeps the write deadline moving. There is none before
// the answer begins: an upload may take longer than any pause that is allowed in it.
type response struct {
	http.ResponseWriter
	deadline    deadlines
	status      int
	wroteHeader bool
	failed      bool
	bytes       int64
	firstByte   time.Time
}

func newResponse(w http.ResponseWriter, timeout time.Duration) *response {
	r := &response{ResponseWriter: w, status: http.StatusOK}
	r.deadline = deadlines{set: http.NewResponseController(w).SetWriteDeadline, timeout: timeout}
	if timeout > 0 {
		_ = r.deadline.set(time.Time{}) // that of the last answer on this connection
	}
	return r
}

// Unwrap lets http.ResponseController find the connection.
func (r *response) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *response) WriteHeader(status int) {
	if !r.wroteHeader && status >= http.StatusOK {
		r.status, r.wroteHeader, r.firstByte = status, true, time.Now()
		r.deadline.progress()
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *response) Write(p []byte) (int, error) {
	if !r.wroteHeader {
		r.WriteHeader(http.StatusOK)
	}
	r.deadline.progress()
	n, err := r.ResponseWriter.Write(p)
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

// body counts what is received and keeps the read deadline moving. The deadline is
// taken back at the end of the body, because it would end the wait for the client's
// departure, too.
type body struct {
	io.ReadCloser
	deadline deadlines
	bytes    int64
	ended    bool
}

func newBody(original io.ReadCloser, w http.ResponseWriter, timeout time.Duration) *body {
	b := &body{ReadCloser: original}
	b.deadline = deadlines{set: http.NewResponseController(w).SetReadDeadline, timeout: timeout}
	return b
}

func (b *body) Read(p []byte) (int, error) {
	b.deadline.progress()
	n, err := b.ReadCloser.Read(p)
	b.bytes += int64(n)
	if err != nil {
		b.ended = true
		if errors.Is(err, io.EOF) && b.deadline.timeout > 0 {
			_ = b.deadline.set(time.Time{})
		}
	}
	return n, err
}

// finish limits how long the server waits for the rest of a body that nobody read.
func (b *body) finish() {
	if !b.ended && b.deadline.timeout > 0 && b.ReadCloser != http.NoBody {
		_ = b.deadline.set(time.Now().Add(headerTimeout))
	}
}
