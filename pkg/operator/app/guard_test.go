package app

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"image.alauda.io/registry/pkg/operator/serve"
)

// Behaviour 82. Whoever reaches the metrics may invent tokens, each of which is asked about. That is done at a pace of
// its own: the controllers and the lease share a client that nobody outside can use up.
func TestInventedTokensUseUpNoRequests(t *testing.T) {
	var reviews atomic.Int64
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reviews.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","status":{"authenticated":false}}`)
	}))
	defer api.Close()
	guard, err := newGuard(&rest.Config{Host: api.URL, QPS: clientQPS, Burst: clientBurst})
	if err != nil {
		t.Fatal(err)
	}
	handler := serve.Metrics(guard, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("served") }))
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var group sync.WaitGroup
	for i := range 150 {
		group.Go(func() {
			request := httptest.NewRequest(http.MethodGet, "/metrics", nil).WithContext(ctx)
			request.Header.Set("Authorization", fmt.Sprintf("Bearer invented-%d", i))
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, request)
			if answer.Code != http.StatusUnauthorized {
				t.Errorf("code %d", answer.Code)
			}
		})
	}
	group.Wait()
	if most := guardBurst + int64(guardQPS*time.Since(start).Seconds()) + 1; reviews.Load() > most || reviews.Load() == 0 {
		t.Errorf("%d reviews, want at most %d", reviews.Load(), most)
	}
}
