package app

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkBase measures GET /v2/ with a token that is known: what every request pays.
func BenchmarkBase(b *testing.B) {
	registry, _ := benchRegistry(b)
	request := httptest.NewRequest(http.MethodGet, "/v2/", bytes.NewReader(nil))
	request.Header.Set("Authorization", "Bearer token")
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		w := &sink{header: http.Header{}}
		registry.Server.ServeHTTP(w, request)
		if w.status != http.StatusOK {
			b.Fatalf("status %d", w.status)
		}
	}
}
