package server

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// Behaviour 63, the connections of a replica that leaves: those of HTTP/2 are not used for another request,
// and a request in flight is finished on them.
func TestConnectionsAreGivenUpBeforeTheEnd(t *testing.T) {
	var leaving atomic.Bool
	entered, proceed := make(chan struct{}), make(chan struct{})
	server := httptest.NewUnstartedServer(withFarewell(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/slow" {
			close(entered)
			<-proceed
		}
		_, _ = w.Write([]byte(request.RemoteAddr))
	}), leaving.Load))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	from := func(path string) string {
		answer, err := server.Client().Get(server.URL + path)
		if err != nil {
			t.Error(err)
			return ""
		}
		defer answer.Body.Close()
		if answer.ProtoMajor != 2 {
			t.Errorf("protocol %s", answer.Proto)
		}
		address := make([]byte, 64)
		n, _ := answer.Body.Read(address)
		return string(address[:n])
	}
	first := from("/")
	if again := from("/"); again != first {
		t.Errorf("connections change before the end: %s, then %s", first, again)
	}
	slow := make(chan string, 1)
	go func() { slow <- from("/slow") }()
	<-entered
	leaving.Store(true)
	from("/")
	if next := from("/"); next == first {
		t.Error("a replica that leaves keeps its connection")
	}
	close(proceed)
	if got := <-slow; got != first {
		t.Errorf("the request in flight ended on %q, want its connection %q", got, first)
	}
}
