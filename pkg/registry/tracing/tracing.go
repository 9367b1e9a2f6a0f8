// Package tracing sends spans of requests and of what they lead to with OpenTelemetry.
//
// Tracing is off unless OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_TRACES_EXPORTER is set; all
// other variables of OpenTelemetry are honoured as they are. Off, nothing is wrapped and
// nothing is measured. On, a request continues the trace that its client sends
// (traceparent), and its calls to the Kubernetes API and to other registries carry it on.
// The storage engine adds spans of its own to the same trace.
//
// Spans have methods, hosts, repositories, digests and results. They never have headers,
// bodies, queries or, for other registries, paths: addresses of downloads are signed and
// as good as a password.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"image.alauda.io/registry/pkg/version"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

const (
	scope = "image.alauda.io/registry"
	// flushTime bounds the sending of what is left at the end.
	flushTime = 5 * time.Second
)

// propagator carries trace context and nothing else: baggage is text of strangers, which
// would go on to other registries.
var propagator = propagation.TraceContext{}

// Enabled tells whether the variables ask for tracing.
func Enabled(getenv func(string) string) bool {
	exporter := getenv("OTEL_TRACES_EXPORTER")
	if getenv("OTEL_SDK_DISABLED") == "true" || exporter == "none" {
		return false
	}
	return exporter != "" || getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != ""
}

// Tracing is what sends spans. A nil Tracing is off; all its methods may be called.
type Tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// Start reads the variables and makes tracing ready for this process; it returns nil when
// they do not ask for it. Where spans go to need not answer.
func Start(ctx context.Context, service string, getenv func(string) string, log *zap.Logger) (*Tracing, error) {
	if !Enabled(getenv) {
		return nil, nil
	}
	exporter, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", service), attribute.String("service.version", version.Get().Version),
	), resource.WithFromEnv(), resource.WithTelemetrySDK())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	// A collector that is away is no news for each batch of spans.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Debug("tracing", zap.Error(err)) }))
	t := New(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	// The storage engine knows the global provider only.
	otel.SetTracerProvider(t.provider)
	otel.SetTextMapPropagator(propagator)
	log.Info("sending traces", zap.String("version", version.Get().Version))
	return t, nil
}

// New makes tracing with options of the SDK; the rest of the process does not know of it.
func New(options ...sdktrace.TracerProviderOption) *Tracing {
	provider := sdktrace.NewTracerProvider(options...)
	return &Tracing{provider: provider, tracer: provider.Tracer(scope)}
}

// Stop sends what is left, for at most five seconds.
func (t *Tracing) Stop() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("tracing: %w", err)
	}
	return nil
}
