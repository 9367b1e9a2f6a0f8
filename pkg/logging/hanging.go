package logging

import (
	"net/http"
	"sync"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// HangingAfter is how long a request waits for an answer before the log tells of it: longer than any request of
// the product takes on a slow cluster, and shorter than the 45 seconds after which a connection counts as dead.
const HangingAfter = 10 * time.Second

// Hanging returns a wrapper for the transport of a Kubernetes client. When the server leaves a request without an
// answer for longer than after, that is logged, and once more when it answers and none waits any more. Requests that
// are given up and made again meanwhile are not told of.
//
// Requests are neither ended nor repeated, and what they hold never reaches the log. Watches count until they are
// accepted.
func Hanging(log klog.Logger, timer clock.WithDelayedExecution, after time.Duration) func(http.RoundTripper) http.RoundTripper {
	h := &hanging{log: log, timer: timer, after: after}
	return func(next http.RoundTripper) http.RoundTripper {
		return waiting{next: next, hanging: h}
	}
}

// hanging counts the requests that wait too long.
type hanging struct {
	log   klog.Logger
	timer clock.WithDelayedExecution
	after time.Duration

	mu    sync.Mutex
	count int
	// silent is what the log says last, since when the first request waited.
	silent bool
	since  time.Time
}

// waiting is a transport whose requests are watched.
type waiting struct {
	next http.RoundTripper
	*hanging
}

func (w waiting) RoundTrip(r *http.Request) (*http.Response, error) {
	began := w.timer.Now()
	var mu sync.Mutex
	answered, told := false, false
	timer := w.timer.AfterFunc(w.after, func() {
		mu.Lock()
		defer mu.Unlock()
		if !answered {
			told = true
			w.begins(began, r)
		}
	})
	response, err := w.next.RoundTrip(r)
	timer.Stop()
	mu.Lock()
	defer mu.Unlock()
	answered = true
	w.ends(told, err)
	return response, err
}

// WrappedRoundTripper lets clients find the transport below.
func (w waiting) WrappedRoundTripper() http.RoundTripper { return w.next }

func (h *hanging) begins(began time.Time, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count++
	if h.silent {
		return
	}
	h.silent, h.since = true, began
	h.log.Info("The API server does not answer; requests wait for it", "waiting", h.after.String(), "verb", r.Method, "path", r.URL.Path)
}

// ends takes the end of any request: also the answer to one that need not wait ends the silence.
func (h *hanging) ends(told bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if told {
		h.count--
	}
	if !h.silent || h.count > 0 || err != nil {
		return
	}
	h.silent = false
	h.log.Info("The API server answers again", "silent", h.timer.Since(h.since).Round(time.Second).String())
}
