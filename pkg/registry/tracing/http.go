package tracing

import (
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Request is the span of a request that is being served. The zero value is none.
type Request struct{ span trace.Span }

// Result is what is known of a request at its end.
type Result struct {
	ID, Route, Repository, Reference string
	// Upstream is the host that the answer came from, "" for the own storage.
	Upstream          string
	Status            int
	Received, Written int64
}

// Serve begins the span of a request, under that of its client, and returns the request
// with it. Without tracing it returns the request as it is.
func (t *Tracing) Serve(r *http.Request) (*http.Request, Request) {
	if t == nil {
		return r, Request{}
	}
	ctx := propagator.Extract(r.Context(), incoming(r.Header))
	ctx, span := t.tracer.Start(ctx, method(r.Method), trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", method(r.Method))))
	return r.WithContext(ctx), Request{span}
}

// maxState is how much of a client's tracestate goes on; W3C asks for 512 bytes at least.
// All of it goes to the API server and to other registries with every call.
const maxState = 512

// incoming is what of a request's headers continues a trace.
type incoming http.Header

// Get implements propagation.TextMapCarrier.
func (h incoming) Get(key string) string {
	value := http.Header(h).Get(key)
	if len(value) > maxState {
		return ""
	}
	return value
}

// Set implements propagation.TextMapCarrier; nothing is written into a request that came.
func (incoming) Set(string, string) {}

// Keys implements propagation.TextMapCarrier.
func (incoming) Keys() []string { return propagator.Fields() }

// End completes the span; result is asked only when somebody wants to know.
func (q Request) End(result func() Result) {
	if q.span == nil {
		return
	}
	if q.span.IsRecording() {
		q.describe(result())
	}
	q.span.End()
}

func (q Request) describe(r Result) {
	attributes := []attribute.KeyValue{
		attribute.String("http.route", r.Route), attribute.Int("http.response.status_code", r.Status), attribute.String("registry.request_id", r.ID),
		attribute.Int64("http.request.body.size", r.Received), attribute.Int64("http.response.body.size", r.Written),
	}
	for key, value := range map[string]string{"registry.repository": r.Repository, "registry.reference": r.Reference, "registry.upstream": r.Upstream} {
		if value != "" {
			attributes = append(attributes, attribute.String(key, value))
		}
	}
	q.span.SetAttributes(attributes...)
	if read, ok := q.span.(interface{ Name() string }); ok {
		q.span.SetName(read.Name() + " " + r.Route)
	}
	if r.Status >= http.StatusInternalServerError {
		q.span.SetStatus(codes.Error, http.StatusText(r.Status))
	}
}

// Wrap makes requests that a transport sends spans with that name, and lets them carry the
// trace on. Without tracing it returns the transport as it is. withPath adds the path: only
// for hosts whose paths hold no secrets.
func (t *Tracing) Wrap(name string, withPath bool, next http.RoundTripper) http.RoundTripper {
	if t == nil {
		return next
	}
	return transport{tracing: t, name: name, withPath: withPath, next: next}
}

type transport struct {
	tracing  *Tracing
	name     string
	withPath bool
	next     http.RoundTripper
}

// RoundTrip implements http.RoundTripper. The span ends when the answer begins: its body
// may be a watch, or a layer that a client reads for an hour.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	attributes := []attribute.KeyValue{attribute.String("http.request.method", method(r.Method)), attribute.String("server.address", r.URL.Host)}
	if t.withPath {
		attributes = append(attributes, attribute.String("url.path", r.URL.Path))
	}
	ctx, span := t.tracing.tracer.Start(r.Context(), t.name+" "+method(r.Method), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
	defer span.End()
	r = r.Clone(ctx)
	propagator.Inject(ctx, propagation.HeaderCarrier(r.Header))
	response, err := t.next.RoundTrip(r)
	switch {
	case err != nil:
		// Not its text, which may have the whole address.
		span.SetStatus(codes.Error, "no answer")
	default:
		span.SetAttributes(attribute.Int("http.response.status_code", response.StatusCode))
		if response.StatusCode >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, http.StatusText(response.StatusCode))
		}
	}
	return response, err
}

// WrappedRoundTripper lets client-go find what is inside.
func (t transport) WrappedRoundTripper() http.RoundTripper { return t.next }

// method keeps made-up methods out of the names of spans.
func method(given string) string {
	switch given {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return given
	}
	return "other"
}
