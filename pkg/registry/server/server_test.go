package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"image.alauda.io/registry/pkg/registry/handlers"
	"image.alauda.io/registry/pkg/registry/route"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// Behaviour 92.
func TestReadiness(t *testing.T) {
	health := NewHealth(2)
	if health.Ready() == nil {
		t.Error("ready before the first check")
	}
	steps := []struct {
		err   error
		ready bool
	}{{nil, true}, {errors.New("x"), true}, {errors.New("x"), false}, {nil, true}}
	for i, step := range steps {
		health.Report(step.err)
		if got := health.Ready() == nil; got != step.ready {
			t.Errorf("step %d: ready %t, want %t", i, got, step.ready)
		}
	}
	health.ShutDown()
	if health.Ready() == nil {
		t.Error("ready while shutting down")
	}
}

// Behaviour 92.
func TestHangingStorageDoesNotHangTheCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		health := NewHealth(3)
		ctx, cancel := context.WithCancel(t.Context())
		released := make(chan struct{})
		go health.Watch(ctx, 10*time.Second, func(context.Context) error {
			<-released
			return nil
		})
		time.Sleep(26 * time.Second)
		synctest.Wait()
		if health.Ready() == nil {
			t.Error("ready while the storage hangs")
		}
		close(released)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if err := health.Ready(); err != nil {
			t.Errorf("after recovery: %v", err)
		}
		cancel()
		synctest.Wait()
	})
}

func testServer(t *testing.T, log *zap.Logger, options Options) *Server {
	t.Helper()
	options.AccessLog = true
	return New(options, &handlers.Handlers{}, NewHealth(0), NewMetrics(), log)
}

// Behaviour 93. The handlers have no limiter here, which makes them panic.
func TestPanicIsAnswered(t *testing.T) {
	s := testServer(t, zap.NewNop(), Options{})
	answer := httptest.NewRecorder()
	s.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/v2/", nil))
	if answer.Code != http.StatusInternalServerError || !strings.Contains(answer.Body.String(), `"UNKNOWN"`) {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}

// A client writes no more into the log than a line has room for.
func TestLinesOfTheAccessLogAreBounded(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	s := testServer(t, zap.New(core), Options{})
	flood := strings.Repeat("x", 60<<10)
	r := httptest.NewRequest(http.MethodGet, "/v2/"+flood+"?from="+flood+"&"+flood+"=1", nil)
	r.Method, r.Host = flood, flood
	r.Header.Set("User-Agent", flood)
	r.Header.Set("X-Forwarded-For", flood+"\x7f\n{")
	r.Header.Set("X-Request-Id", flood)
	s.ServeHTTP(httptest.NewRecorder(), r)
	size := 0
	for key, value := range logs.FilterMessage("request").All()[0].ContextMap() {
		if text, ok := value.(string); ok {
			if size += len(text); len(text) > longestPath+len("…") {
				t.Errorf("%s has %d bytes", key, len(text))
			}
		}
	}
	if size > 4<<10 {
		t.Errorf("%d bytes in one line", size)
	}
}

// Behaviour 95.
func TestSecretsAreNotLogged(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	s := testServer(t, zap.New(core), Options{})
	r := httptest.NewRequest(http.MethodGet, "/v2/bad?_state=topsecret&n=5&token=topsecret", nil)
	r.Header.Set("Authorization", "Bearer topsecret")
	r.Header.Set("X-Request-Id", "request-7")
	answer := httptest.NewRecorder()
	s.ServeHTTP(answer, r)
	if answer.Header().Get("X-Request-Id") != "request-7" {
		t.Errorf("request id %q", answer.Header().Get("X-Request-Id"))
	}
	lines := logs.FilterMessage("request").All()
	if len(lines) != 1 {
		t.Fatalf("%d lines", len(lines))
	}
	fields := lines[0].ContextMap()
	for key, value := range fields {
		if text, ok := value.(string); ok && strings.Contains(text, "topsecret") {
			t.Errorf("%s shows %q", key, text)
		}
	}
	if !strings.Contains(fields["query"].(string), "n=5") || fields["request_id"] != "request-7" {
		t.Errorf("fields %v", fields)
	}
	r = httptest.NewRequest(http.MethodGet, "/v2/bad", nil)
	r.Header.Set("X-Request-Id", "evil\nline")
	answer = httptest.NewRecorder()
	s.ServeHTTP(answer, r)
	if strings.Contains(answer.Header().Get("X-Request-Id"), "evil") {
		t.Error("a foreign request id was taken over unchecked")
	}
}

// Behaviours 90 and 91: TLS with HTTP/2, and the order of the end.
func TestRunServesAndEndsInOrder(t *testing.T) {
	directory := t.TempDir()
	certFile, keyFile := writePair(t, directory, 1)
	certificate, err := NewCertificate(certFile, keyFile, zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := TLSConfig(TLSOptions{HTTP2: true}, certificate)
	if err != nil {
		t.Fatal(err)
	}
	s := testServer(t, zap.NewNop(), Options{TLS: config, HTTP2: true, IOTimeout: time.Minute, ShutdownDelay: time.Second, DrainTimeout: time.Second})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, listener) }()

	pool := x509.NewCertPool()
	pem, err := os.ReadFile(certFile)
	if err != nil || !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("certificate: %v", err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost"}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	get := func(path string) (int, int) {
		answer, err := (&http.Client{Transport: transport}).Get("https://" + listener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close() //nolint:errcheck // everything was read
		_, _ = io.Copy(io.Discard, answer.Body)
		return answer.StatusCode, answer.ProtoMajor
	}
	if status, proto := get("/readyz"); status != http.StatusOK || proto != 2 {
		t.Errorf("before the end: %d over HTTP/%d", status, proto)
	}
	old := &tls.Config{RootCAs: pool, ServerName: "localhost", MaxVersion: tls.VersionTLS11}
	if connection, err := tls.Dial("tcp", listener.Addr().String(), old); err == nil {
		_ = connection.Close()
		t.Error("TLS 1.1 was accepted")
	}
	cancel()
	deadline := time.Now().Add(10 * time.Second)
	for s.health.Ready() == nil && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if status, _ := get("/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("readiness during the delay: %d", status)
	}
	if status, _ := get("/livez"); status != http.StatusOK {
		t.Errorf("liveness during the delay: %d", status)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// Behaviour 96, the bounds of labels.
func TestMetricLabelsAreBounded(t *testing.T) {
	if got := methodLabel("INVENTED"); got != "other" {
		t.Errorf("label %q", got)
	}
	if route.Unknown == "" {
		t.Error("unknown routes need a label")
	}
}
