package tracing

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func request(t testing.TB, target string) *http.Request {
	t.Helper()
	r := httptest.NewRequest("GET", target, nil)
	r.Header.Set("traceparent", parent)
	r.Header.Set("baggage", "who=jane")
	r.Header.Set("Authorization", "Bearer hidden-token")
	return r
}

func TestOnlyTheVariablesSwitchItOn(t *testing.T) {
	for what, test := range map[string]struct {
		variables map[string]string
		want      bool
	}{
		"nothing":          {nil, false},
		"an end point":     {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, true},
		"an exporter":      {map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, true},
		"none":             {map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, false},
		"disabled":         {map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, false},
		"another variable": {map[string]string{"OTEL_SERVICE_NAME": "x"}, false},
	} {
		if got := Enabled(func(key string) string { return test.variables[key] }); got != test.want {
			t.Errorf("%s: %t, want %t", what, got, test.want)
		}
	}
	off, err := Start(t.Context(), "x", func(string) string { return "" }, zap.NewNop())
	if off != nil || err != nil {
		t.Errorf("%v, %v", off, err)
	}
}

func TestOffChangesNothing(t *testing.T) {
	var off *Tracing
	r := request(t, "/")
	same, span := off.Serve(r)
	if same != r || off.Wrap("x", true, http.DefaultTransport) != http.DefaultTransport || off.Stop() != nil {
		t.Error("something was changed")
	}
	span.End(func() Result { t.Error("the result was asked for"); return Result{} })
	if allocated := testing.AllocsPerRun(100, func() {
		_, span := off.Serve(r)
		span.End(nil)
	}); allocated != 0 {
		t.Errorf("%v allocations for each request", allocated)
	}
}

func TestTraceGoesThrough(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	on := New(sdktrace.WithSpanProcessor(recorder))
	var sent http.Header
	next := roundTripper(func(r *http.Request) (*http.Response, error) {
		sent = r.Header.Clone()
		if r.URL.Host == "broken.test" {
			return nil, errors.New("Get https://broken.test/?X-Amz-Signature=hidden-signature")
		}
		return &http.Response{StatusCode: 502, Body: http.NoBody}, nil
	})
	r, span := on.Serve(request(t, "/v2/team/app/blobs/uploads/x?_state=hidden-state"))
	for _, target := range []string{"https://api.test/apis/x?y=hidden-query", "https://broken.test/hidden-path"} {
		out, err := http.NewRequestWithContext(r.Context(), "GET", target, nil)
		if err != nil {
			t.Fatal(err)
		}
		if response, err := on.Wrap("remote", strings.Contains(target, "api"), next).RoundTrip(out); err == nil {
			_ = response.Body.Close()
		}
		if out.Header.Get("traceparent") != "" {
			t.Error("the request of the caller was changed")
		}
	}
	span.End(func() Result {
		return Result{ID: "id", Route: "blob-upload-chunk", Repository: "team/app", Upstream: "other.test", Status: 503}
	})
	if got := sent.Get("traceparent"); !strings.HasPrefix(got, parent[:36]) || got == parent || sent.Get("baggage") != "" {
		t.Errorf("sent on: %q and baggage %q", got, sent.Get("baggage"))
	}
	ended := recorder.Ended()
	if len(ended) != 3 {
		t.Fatalf("%d spans", len(ended))
	}
	server := ended[2]
	if server.Name() != "GET blob-upload-chunk" || server.Parent().SpanID().String() != "b7ad6b7169203331" || server.SpanKind() != trace.SpanKindServer || server.Status().Description == "" {
		t.Errorf("server span %q below %s, %+v", server.Name(), server.Parent().SpanID(), server.Status())
	}
	for _, client := range ended[:2] {
		if client.Parent().SpanID() != server.SpanContext().SpanID() || client.SpanContext().TraceID() != server.SpanContext().TraceID() {
			t.Errorf("span %q is elsewhere", client.Name())
		}
	}
	for _, span := range ended {
		text := span.Name() + span.Status().Description
		for _, attribute := range span.Attributes() {
			text += string(attribute.Key) + "=" + attribute.Value.String() + " "
		}
		for _, event := range span.Events() {
			for _, attribute := range event.Attributes {
				text += attribute.Value.String()
			}
		}
		if strings.Contains(text, "hidden") {
			t.Errorf("a secret is in %q", text)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// receiver is a collector in the test process.
type receiver struct {
	mu     sync.Mutex
	bodies []byte
}

func (c *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil || r.URL.Path != "/v1/traces" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bodies = append(c.bodies, raw...)
}

func (c *receiver) has(text []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Contains(c.bodies, text)
}

func TestSpansReachACollectorAtTheEndAtTheLatest(t *testing.T) {
	collector := &receiver{}
	server := httptest.NewServer(collector)
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
	on, err := Start(context.Background(), "image-registry", os.Getenv, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	_, span := on.Serve(request(t, "/v2/"))
	span.End(func() Result { return Result{ID: "request-7", Route: "base", Status: 200} })
	if err := on.Stop(); err != nil {
		t.Fatal(err)
	}
	trace := []byte{0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c}
	for _, want := range [][]byte{trace, []byte("request-7"), []byte("GET base"), []byte("image-registry")} {
		if !collector.has(want) {
			t.Errorf("the collector did not get %q", want)
		}
	}
	if collector.has([]byte("hidden")) {
		t.Error("the collector got a secret")
	}
}

func TestACollectorThatHangsDelaysTheEndByFiveSecondsAtMost(t *testing.T) {
	released := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-released
	}))
	defer server.Close()
	defer close(released)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	on, err := Start(context.Background(), "x", os.Getenv, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	_, span := on.Serve(request(t, "/v2/"))
	span.End(func() Result { return Result{} })
	start := time.Now()
	if err := on.Stop(); err == nil || time.Since(start) > 2*flushTime {
		t.Errorf("%v after %s", err, time.Since(start))
	}
}

func BenchmarkServe(b *testing.B) {
	r := request(b, "/v2/")
	for name, t := range map[string]*Tracing{"off": nil, "on": New(sdktrace.WithSampler(sdktrace.AlwaysSample()))} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, span := t.Serve(r)
				span.End(func() Result { return Result{Route: "base", Status: 200} })
			}
		})
	}
}

// A tracestate goes to every host that is asked for the request, so a client must not make it
// large.
func TestALargeTraceStateGoesNoFurther(t *testing.T) {
	on := New()
	for what, test := range map[string]struct {
		state []string
		want  string
	}{
		"small": {[]string{"vendor=1"}, "vendor=1"}, "large": {[]string{"vendor=1,other=" + strings.Repeat("x", 250) + ",third=" + strings.Repeat("x", 250)}, ""},
		"several lines": {[]string{"vendor=1", "flood=" + strings.Repeat("x", 250)}, "vendor=1"}, "malformed": {[]string{"\xff\n=,,"}, ""},
	} {
		r := request(t, "/v2/")
		r.Header["Tracestate"] = test.state
		served, _ := on.Serve(r)
		sent := ""
		out := httptest.NewRequestWithContext(served.Context(), "GET", "https://api.test/", nil)
		_, err := on.Wrap("remote", false, roundTripper(func(r *http.Request) (*http.Response, error) {
			sent = r.Header.Get("tracestate")
			if !strings.HasPrefix(r.Header.Get("traceparent"), parent[:36]) {
				t.Errorf("%s: the trace ends: %q", what, r.Header.Get("traceparent"))
			}
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		})).RoundTrip(out)
		if err != nil || sent != test.want {
			t.Errorf("%s: sent %q, %v", what, sent, err)
		}
	}
}
