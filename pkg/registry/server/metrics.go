package server

import (
	"net/http"
	"strconv"
	"time"

	"image.alauda.io/registry/pkg/registry/handlers"
	"image.alauda.io/registry/pkg/registry/limiter"
	"image.alauda.io/registry/pkg/version"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const namespace = "imageregistry"

// Metrics of the registry. Names of repositories, namespaces and users are never labels.
type Metrics struct {
	registry *prometheus.Registry

	requests      *prometheus.CounterVec
	inFlight      prometheus.Gauge
	duration      *prometheus.HistogramVec
	toHeader      *prometheus.HistogramVec
	requestSize   *prometheus.HistogramVec
	responseSize  *prometheus.HistogramVec
	operations    *prometheus.HistogramVec
	panics        prometheus.Counter
	reviews       *prometheus.CounterVec
	reviewLatency *prometheus.HistogramVec
	reviewCache   *prometheus.CounterVec
	uploadBytes   prometheus.Counter
	servedBytes   *prometheus.CounterVec
	expiry        prometheus.Gauge
	pullThrough   pullThroughMetrics
	streams       streamMetrics
	storage       storageMetrics
	collections   collectionMetrics
}

// NewMetrics registers all metrics in a registry of their own.
func NewMetrics() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
		m.registry.MustRegister(v)
		return v
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
		m.registry.MustRegister(v)
		return v
	}
	gauge := func(name, help string) prometheus.Gauge {
		v := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
		m.registry.MustRegister(v)
		return v
	}
	seconds := []float64{.001, .005, .025, .1, .5, 1, 5, 15, 60, 300}
	sizes := prometheus.ExponentialBuckets(256, 8, 9)
	m.requests = counter("http_requests_total", "Requests by status, method and route.", "code", "method", "route")
	m.inFlight = gauge("http_in_flight_requests", "Requests that are being served.")
	m.duration = histogram("http_request_duration_seconds", "Time until the whole answer was sent.", seconds, "method", "route")
	m.toHeader = histogram("http_request_time_to_write_header_seconds", "Time until the status was sent.", seconds, "method", "route")
	m.requestSize = histogram("http_request_size_bytes", "Bytes of request bodies.", sizes, "method", "route")
	m.responseSize = histogram("http_response_size_bytes", "Bytes of response bodies.", sizes, "method", "route")
	m.operations = histogram("request_duration_seconds", "Duration of operations on blobs, manifests and tags.", seconds, "operation")
	m.panics = counter("http_panics_total", "Panics in handlers.").WithLabelValues()
	m.reviews = counter("auth_reviews_total", "Token and access reviews.", "kind", "result")
	m.reviewLatency = histogram("auth_review_duration_seconds", "Duration of reviews.", seconds, "kind", "result")
	m.reviewCache = counter("auth_cache_requests_total", "Look-ups in the caches of reviews.", "kind", "result")
	m.uploadBytes = counter("upload_bytes_total", "Bytes received for blobs.").WithLabelValues()
	m.servedBytes = counter("served_bytes_total", "Bytes of blobs sent.", "source")
	m.expiry = gauge("tls_certificate_expiry_timestamp_seconds", "End of the serving certificate's life.")
	m.pullThrough = newPullThroughMetrics(m.registry)
	m.collections = newCollectionMetrics(m.registry)
	m.streams = newStreamMetrics(m.registry)
	m.storage = newStorageMetrics(m.registry)
	info := version.Get()
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "Version of the binary; always 1.",
	}, []string{"version", "commit", "go_version"})
	build.WithLabelValues(info.Version, info.Commit, info.GoVersion).Set(1)
	m.registry.MustRegister(build)
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// WatchLimits exports the state of the request limiters and of the uploads.
func (m *Metrics) WatchLimits(reads, writes *limiter.Limiter, uploads func() int) {
	gauge := func(name, help, class string, value func() int64) {
		options := prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}
		if class != "" {
			options.ConstLabels = prometheus.Labels{"class": class}
		}
		m.registry.MustRegister(prometheus.NewGaugeFunc(options, func() float64 { return float64(value()) }))
	}
	for class, l := range map[string]*limiter.Limiter{"read": reads, "write": writes} {
		gauge("requests_running", "Requests that hold a slot.", class, l.Running)
		gauge("requests_queued", "Requests that wait for a slot.", class, l.Waiting)
		m.registry.MustRegister(rejections(class, l)...)
	}
	gauge("uploads_active", "Uploads that are being written.", "", func() int64 { return int64(uploads()) })
}

// Handler serves the metrics of the registry and of its storage engine.
func (m *Metrics) Handler() http.Handler {
	gatherers := prometheus.Gatherers{m.registry, engineMetrics{}}
	return promhttp.HandlerFor(gatherers, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// Gatherer gives the registry's own metrics to tests.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// SetCertificateExpiry notes when the serving certificate ends.
func (m *Metrics) SetCertificateExpiry(end time.Time) { m.expiry.Set(float64(end.Unix())) }

// ReviewDone implements auth.Observer.
func (m *Metrics) ReviewDone(kind, result string, took time.Duration) {
	m.reviews.WithLabelValues(kind, result).Inc()
	m.reviewLatency.WithLabelValues(kind, result).Observe(took.Seconds())
}

// CacheUsed implements auth.Observer.
func (m *Metrics) CacheUsed(kind, result string) { m.reviewCache.WithLabelValues(kind, result).Inc() }

func (m *Metrics) observe(record *handlers.Record, status int, start time.Time, in *body, out *response) {
	method, path := methodLabel(record.Method), string(record.Route.Kind)
	if path == "" {
		path = "unknown"
	}
	m.requests.WithLabelValues(strconv.Itoa(status), method, path).Inc()
	took := time.Since(start)
	m.duration.WithLabelValues(method, path).Observe(took.Seconds())
	if status < http.StatusBadRequest {
		m.observeOperations(record, took)
	}
	if !out.firstByte.IsZero() {
		m.toHeader.WithLabelValues(method, path).Observe(out.firstByte.Sub(start).Seconds())
	}
	m.requestSize.WithLabelValues(method, path).Observe(float64(in.bytes))
	m.responseSize.WithLabelValues(method, path).Observe(float64(out.bytes))
	switch path {
	case "blob":
		m.servedBytes.WithLabelValues("redirect").Add(float64(record.Redirected))
		if status < http.StatusMultipleChoices {
			m.servedBytes.WithLabelValues(sourceLabel(record)).Add(float64(out.bytes))
		}
	case "blob-upload", "blob-upload-chunk":
		m.uploadBytes.Add(float64(in.bytes))
	}
}

func sourceLabel(record *handlers.Record) string {
	if record.Remote {
		return "remote"
	}
	return "local"
}

// methodLabel keeps invented methods from becoming labels.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}
