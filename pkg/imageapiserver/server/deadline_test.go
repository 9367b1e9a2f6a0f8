package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestWorkEndsBeforeTheRequest(t *testing.T) {
	for _, c := range []struct{ limit, least, most time.Duration }{
		{3 * time.Second, 250 * time.Millisecond, 300 * time.Millisecond},
		{time.Minute, 500 * time.Millisecond, 500 * time.Millisecond},
		{0, 0, 0},
	} {
		ctx := t.Context()
		var outer time.Time
		if c.limit > 0 {
			outer = time.Now().Add(c.limit)
			limited, cancel := context.WithDeadline(ctx, outer)
			defer cancel()
			ctx = limited
		}
		called := false
		handler := withMargin(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
			called = true
			deadline, limited := request.Context().Deadline()
			if limited != (c.limit > 0) {
				t.Fatalf("limit %s: has a deadline: %t", c.limit, limited)
			}
			if margin := outer.Sub(deadline); limited && (margin < c.least || margin > c.most) {
				t.Errorf("limit %s: work ends %s earlier, want %s to %s", c.limit, margin, c.least, c.most)
			}
		}))
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", http.NoBody))
		if !called {
			t.Error("the handler was not called")
		}
	}
}
