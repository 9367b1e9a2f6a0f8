package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"image.alauda.io/registry/pkg/registry/route"
)

const checkTimeout = 5 * time.Second

// Health knows whether the process is alive and ready. A failing check changes nothing
// but the answer of the readiness probe.
type Health struct {
	// Changed hears when the result of the check becomes another one, nil for a good one.
	// It is set before the first check.
	Changed func(err error)

	threshold int
	ending    atomic.Bool

	mu       sync.Mutex
	checked  bool
	failures int
	lastErr  error
}

// NewHealth returns a Health that is not ready before its first good check. A threshold
// of zero means that the storage is not checked at all.
func NewHealth(threshold int) *Health { return &Health{threshold: threshold} }

// Watch checks the storage at the interval until the context ends. A check that hangs,
// as on a dead network mount, counts as a failure and holds up nothing.
func (h *Health) Watch(ctx context.Context, interval time.Duration, check func(context.Context) error) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	hanging := make(chan struct{}, 1)
	for {
		h.Report(bounded(ctx, hanging, check))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// bounded runs the check in its own goroutine; at most one of them hangs.
func bounded(ctx context.Context, hanging chan struct{}, check func(context.Context) error) error {
	select {
	case hanging <- struct{}{}:
	default:
		return errors.New("the last check still hangs")
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	result := make(chan error, 1)
	go func() {
		defer cancel()
		result <- check(ctx)
		<-hanging
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no answer within %s", checkTimeout)
	}
}

// Report takes the result of one check.
func (h *Health) Report(err error) {
	h.mu.Lock()
	changed := (err == nil) != (h.lastErr == nil) || err != nil && h.failures == 0
	h.lastErr = err
	if err == nil {
		h.failures, h.checked = 0, true
	} else {
		h.failures++
	}
	h.mu.Unlock()
	if changed && h.Changed != nil {
		h.Changed(err)
	}
}

// ShutDown makes the process not ready for good.
func (h *Health) ShutDown() { h.ending.Store(true) }

// Ready returns why the process is not ready, or nil.
func (h *Health) Ready() error {
	if h.ending.Load() {
		return errors.New("the registry is shutting down")
	}
	if h.threshold == 0 {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.failures >= h.threshold:
		return errors.New("storage check failed")
	case !h.checked:
		return errors.New("the storage was not checked yet")
	}
	return nil
}

// Failure returns the error of the last check, for logs.
func (h *Health) Failure() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lastErr
}

func (h *Health) serve(w http.ResponseWriter, r *http.Request, kind route.Kind) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	text := "ok\n"
	if kind == route.Ready {
		if err := h.Ready(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			text = err.Error() + "\n"
		}
	}
	if r.Method == http.MethodGet {
		_, _ = io.WriteString(w, text) // a probe that left needs no answer
	}
}
