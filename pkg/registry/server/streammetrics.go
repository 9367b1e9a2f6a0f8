package server

import "github.com/prometheus/client_golang/prometheus"

// streamMetrics tell how the views of image streams do.
type streamMetrics struct {
	used     *prometheus.CounterVec
	failures prometheus.Counter
}

func newStreamMetrics(registry *prometheus.Registry) streamMetrics {
	m := streamMetrics{
		used: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "stream_view_requests_total", Help: "Looks at image streams, by whether a view answered (Hit) or the image API was read (Miss).",
		}, []string{"type"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "stream_watch_failures_total", Help: "Lists and watches of image streams that failed.",
		}),
	}
	registry.MustRegister(m.used, m.failures)
	return m
}

// WatchStreams exports whether image streams are followed and how large their views are.
func (m *Metrics) WatchStreams(healthy func() bool, bytes func() int64) {
	gauge := func(name, help string, value func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, value))
	}
	gauge("stream_watch_healthy", "1 while image streams are followed, 0 while each look at one reads the image API.", func() float64 {
		if healthy() {
			return 1
		}
		return 0
	})
	gauge("stream_view_bytes", "Estimated memory of the views of image streams.", func() float64 { return float64(bytes()) })
}

// ViewUsed implements streams.Observer.
func (m *Metrics) ViewUsed(hit bool) {
	result := "Miss"
	if hit {
		result = "Hit"
	}
	m.streams.used.WithLabelValues(result).Inc()
}

// StreamWatchFailed implements streams.Observer.
func (m *Metrics) StreamWatchFailed() { m.streams.failures.Inc() }
