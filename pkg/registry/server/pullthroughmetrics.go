package server

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxRegistryLabels bounds the registries that have series of their own: users decide
// from where they import.
const maxRegistryLabels = 100

// pullThroughMetrics are what pull-through reports.
type pullThroughMetrics struct {
	latency *prometheus.HistogramVec
	errors  *prometheus.CounterVec
	mirrors *prometheus.CounterVec
	bytes   *prometheus.CounterVec
	shared  *prometheus.CounterVec
	names   *registryNames
}

func newPullThroughMetrics(registry *prometheus.Registry) pullThroughMetrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: "pullthrough", Name: name, Help: help}, labels)
	}
	m := pullThroughMetrics{
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: "pullthrough", Name: "repository_duration_seconds",
			Help: "Time until another registry answered.", Buckets: []float64{.01, .05, .25, 1, 5, 15, 60},
		}, []string{"registry", "operation"}),
		errors:  counter("repository_errors_total", "Questions to other registries that failed.", "registry", "operation", "code"),
		mirrors: counter("mirror_total", "Manifests and blobs of other registries that were to be kept.", "result"),
		bytes:   counter("mirror_bytes_total", "Bytes of what was kept.", "result"),
		shared:  counter("blobstore_cache_requests_total", "Pulls of blobs of other registries, by whether a download was under way.", "type"),
		names:   &registryNames{known: map[string]bool{}},
	}
	registry.MustRegister(m.latency, m.errors, m.mirrors, m.bytes, m.shared)
	return m
}

// registryNames keeps the number of labels bounded.
type registryNames struct {
	mu    sync.Mutex
	known map[string]bool
}

func (r *registryNames) label(registry string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known[registry] {
		return registry
	}
	if len(r.known) >= maxRegistryLabels {
		return "other"
	}
	r.known[registry] = true
	return registry
}

// RemoteDone implements pullthrough.Observer.
func (m *Metrics) RemoteDone(registry, operation, code string, took time.Duration) {
	label := m.pullThrough.names.label(registry)
	m.pullThrough.latency.WithLabelValues(label, operation).Observe(took.Seconds())
	if code != "" {
		m.pullThrough.errors.WithLabelValues(label, operation, code).Inc()
	}
}

// MirrorDone implements pullthrough.Observer.
func (m *Metrics) MirrorDone(result string, bytes int64) {
	m.pullThrough.mirrors.WithLabelValues(result).Inc()
	m.pullThrough.bytes.WithLabelValues(result).Add(float64(bytes))
}

// DownloadShared implements pullthrough.Observer.
func (m *Metrics) DownloadShared(hit bool) {
	result := "Miss"
	if hit {
		result = "Hit"
	}
	m.pullThrough.shared.WithLabelValues(result).Inc()
}
