package server

import (
	"net/http"
	"sync"
	"time"

	"image.alauda.io/registry/pkg/registry/apierror"

	"go.uber.org/zap"
)

const (
	// failureInterval is how often requests that fail alike are told of.
	failureInterval = 10 * time.Second
	// maxFailures bounds the kinds of failure that are remembered. Their texts are the registry's own, so there are
	// a handful.
	maxFailures = 64
)

// failures writes a line for requests that the registry could not answer.
//
// While something that it needs is away every request fails for the same reason, thousands of them. Of those that
// are told the same, one line in an interval says so and how many it stands for; the access log has each of them.
// A failure of the registry itself is always written.
type failures struct {
	log *zap.Logger
	now func() time.Time

	mu    sync.Mutex
	known map[string]*alike
}

// alike are failures that were told the same.
type alike struct {
	written time.Time
	left    int
}

func newFailures(log *zap.Logger, now func() time.Time) *failures {
	return &failures{log: log, now: now, known: map[string]*alike{}}
}

// write takes a failed request. Nothing is written for what is the client's own fault.
func (f *failures) write(requestID string, refusal *apierror.Error, err error) {
	if refusal.Cause == nil || refusal.Status < http.StatusInternalServerError {
		return
	}
	fields := []zap.Field{zap.String("request_id", requestID), zap.Error(err)}
	left, due := 0, true
	if refusal.Status == http.StatusServiceUnavailable {
		left, due = f.due(refusal.Entries[0].Message)
	}
	if !due {
		f.log.Debug("request failed like others", fields...)
		return
	}
	if left > 0 {
		fields = append(fields, zap.Int("others_like_it", left))
	}
	f.log.Error("request failed", fields...)
}

// due tells whether a kind of failure is to be written, and how many were not since it was written last.
func (f *failures) due(kind string) (left int, due bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	last := f.known[kind]
	if last == nil {
		if len(f.known) >= maxFailures {
			clear(f.known)
		}
		f.known[kind] = &alike{written: now}
		return 0, true
	}
	if now.Sub(last.written) < failureInterval {
		last.left++
		return 0, false
	}
	left = last.left
	last.written, last.left = now, 0
	return left, true
}
