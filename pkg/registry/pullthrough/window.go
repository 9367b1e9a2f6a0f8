package pullthrough

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"image.alauda.io/registry/pkg/registry/store"
)

// errLeftBehind: the bytes that a reader needs next are in the memory no more.
var errLeftBehind = errors.New("the reader is too far behind")

// window hands the bytes of one download to several readers through a bounded memory. The
// writer waits for the reader that is ahead, so that somebody reads along, but only for
// so long: nobody who reads slowly holds up the others and the copy.
type window struct {
	limit    int64
	patience time.Duration

	mu      sync.Mutex
	changed chan struct{}
	// ring holds the bytes from start to end; it is nil until somebody reads along.
	ring       []byte
	start, end int64
	readers    map[*follower]struct{}
	// complete says that end is the end of the content and that it was verified.
	complete bool
	// ended says that there will be no more, and that info or err holds.
	ended bool
	info  store.Info
	err   error
}

func newWindow(limits Limits) *window {
	return &window{limit: limits.Window, patience: limits.Patience, changed: make(chan struct{}), readers: map[*follower]struct{}{}}
}

// broadcast wakes everybody who waits; the lock is held.
func (w *window) broadcast() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// follow makes a reader that starts at the first byte; nil when that is gone.
func (w *window) follow() *follower {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended || w.start > 0 || w.end > 0 && w.ring == nil {
		return nil
	}
	f := &follower{window: w}
	w.readers[f] = struct{}{}
	return f
}

// publish adds bytes. It fails when the context ends.
func (w *window) publish(ctx context.Context, p []byte) error {
	for len(p) > 0 {
		n, wait, changed := w.add(p)
		if n > 0 {
			p = p[n:]
			continue
		}
		begin := time.Now()
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		timer.Stop()
		w.mu.Lock()
		w.patience -= min(max(time.Since(begin), time.Millisecond), w.patience)
		w.mu.Unlock()
	}
	return nil
}

// add takes what fits, or says how long to wait at most until something does.
func (w *window) add(p []byte) (n int, wait time.Duration, changed <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ring == nil && len(w.readers) == 0 {
		w.end += int64(len(p))
		w.start = w.end
		return len(p), 0, nil
	}
	if w.ring == nil {
		w.ring = make([]byte, w.limit)
	}
	n = min(len(p), len(w.ring))
	if ahead, any := w.ahead(); any && w.patience > 0 {
		if n = int(min(int64(n), ahead+w.limit-w.end)); n <= 0 {
			return 0, w.patience, w.changed
		}
	}
	for copied := 0; copied < n; {
		copied += copy(w.ring[(w.end+int64(copied))%w.limit:], p[copied:n])
	}
	w.end += int64(n)
	w.start = max(w.start, w.end-w.limit)
	w.broadcast()
	return n, 0, nil
}

// ahead is where the reader stands that is in front.
func (w *window) ahead() (offset int64, any bool) {
	for f := range w.readers {
		if f.offset >= w.start {
			offset, any = max(offset, f.offset), true
		}
	}
	return offset, any
}

// finish notes that everything came and was verified.
func (w *window) finish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.complete = true
	w.broadcast()
}

// close ends it: with the stored blob, or with an error.
func (w *window) close(info store.Info, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended, w.info, w.err = true, info, err
	w.broadcast()
}

// wait waits for the end.
func (w *window) wait(ctx context.Context) (store.Info, error) {
	for {
		w.mu.Lock()
		ended, info, err, changed := w.ended, w.info, w.err, w.changed
		w.mu.Unlock()
		if ended {
			return info, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return store.Info{}, ctx.Err()
		}
	}
}

// follower reads what a window is given.
type follower struct {
	window *window
	offset int64
}

// read returns the next bytes, io.EOF at the verified end, errLeftBehind when the next
// bytes are gone or will not come.
func (f *follower) read(ctx context.Context, p []byte) (int, error) {
	w := f.window
	for {
		w.mu.Lock()
		if f.offset >= w.start && f.offset < w.end {
			n := 0
			for want := min(int64(len(p)), w.end-f.offset); int64(n) < want; {
				at := (f.offset + int64(n)) % w.limit
				n += copy(p[n:want], w.ring[at:])
			}
			f.offset += int64(n)
			w.broadcast()
			w.mu.Unlock()
			return n, nil
		}
		complete, ended, changed := w.complete && f.offset == w.end, w.ended, w.changed
		behind := f.offset < w.start
		w.mu.Unlock()
		switch {
		case complete:
			return 0, io.EOF
		case ended || behind:
			return 0, errLeftBehind
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// close takes the reader away.
func (f *follower) close() {
	f.window.mu.Lock()
	defer f.window.mu.Unlock()
	delete(f.window.readers, f)
	f.window.broadcast()
}
