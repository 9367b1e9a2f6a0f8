package server

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/apierror"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestFailuresThatAreAlikeAreWrittenOnceInAnInterval(t *testing.T) {
	core, logs := observer.New(zapcore.ErrorLevel)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	f := newFailures(zap.New(core), func() time.Time { return now })
	cause := errors.New("context deadline exceeded")
	fails := func(times int, refusal *apierror.Error) {
		for range times {
			f.write("id", refusal, refusal)
		}
	}
	wrote := func(what string, lines int) {
		t.Helper()
		if got := logs.Len(); got != lines {
			t.Errorf("%s: %d lines, want %d", what, got, lines)
		}
	}

	fails(1000, apierror.Unavailable(cause, "the image API is not available"))
	wrote("a thousand alike", 1)
	fails(1, apierror.Unavailable(cause, "the storage is not available"))
	wrote("another kind", 2)
	now = now.Add(failureInterval)
	fails(3, apierror.Unavailable(cause, "the image API is not available"))
	wrote("after the interval", 3)
	if others := logs.All()[2].ContextMap()["others_like_it"]; others != int64(999) {
		t.Errorf("the line stands for %v others, want 999", others)
	}
	fails(5, apierror.New(http.StatusInternalServerError, apierror.CodeUnknown, "an internal error").WithCause(cause))
	wrote("failures of the registry itself", 8)
	fails(5, apierror.New(http.StatusNotFound, apierror.CodeNameUnknown, "unknown").WithCause(cause))
	fails(5, apierror.New(http.StatusServiceUnavailable, apierror.CodeUnavailable, "shutting down"))
	wrote("what is no failure", 8)

	for i := range 10 * maxFailures {
		fails(1, apierror.Unavailable(cause, "kind %s", fmt.Sprint(i)))
	}
	if len(f.known) > maxFailures {
		t.Errorf("%d kinds are remembered, want %d at most", len(f.known), maxFailures)
	}
}
