package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// storageMetrics tell how the storage does, and how much of it the digest cache saves.
type storageMetrics struct {
	latency *prometheus.HistogramVec
	errors  *prometheus.CounterVec
	digests *prometheus.CounterVec
	scoped  *prometheus.CounterVec
}

func newStorageMetrics(registry *prometheus.Registry) storageMetrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	m := storageMetrics{
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "storage_duration_seconds", Help: "Duration of operations of the storage driver.",
			Buckets: []float64{.0005, .001, .005, .025, .1, .5, 1, 5, 15, 60},
		}, []string{"operation"}),
		errors:  counter("storage_errors_total", "Failed operations of the storage driver.", "operation", "code"),
		digests: counter("digest_cache_requests_total", "Look-ups of digests in the digest cache.", "type"),
		scoped:  counter("digest_cache_scoped_requests_total", "Look-ups of digests within a repository in the digest cache.", "type"),
	}
	registry.MustRegister(m.latency, m.errors, m.digests, m.scoped)
	return m
}

// StorageDone implements store.DriverObserver.
func (m *Metrics) StorageDone(operation, code string, took time.Duration) {
	m.storage.latency.WithLabelValues(operation).Observe(took.Seconds())
	if code != "" {
		m.storage.errors.WithLabelValues(operation, code).Inc()
	}
}

// DigestCacheUsed implements digestcache.Observer.
func (m *Metrics) DigestCacheUsed(scoped, hit bool) {
	counter, result := m.storage.digests, "Miss"
	if scoped {
		counter = m.storage.scoped
	}
	if hit {
		result = "Hit"
	}
	counter.WithLabelValues(result).Inc()
}
