package crd

import (
	"sync"
	"time"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

// requestDuration is shared by all stores of the process, as metrics are.
var (
	requestDuration = metrics.NewHistogramVec(&metrics.HistogramOpts{
		Name:           "image_apiserver_storage_request_duration_seconds",
		Help:           "Duration of requests to the storage of images and image streams.",
		Buckets:        metrics.ExponentialBuckets(0.001, 2, 14),
		StabilityLevel: metrics.ALPHA,
	}, []string{"backend", "operation"})
	registerMetrics = sync.OnceFunc(func() { legacyregistry.MustRegister(requestDuration) })
)

// observe records the duration of an operation that started at the given time.
func observe(operation string, start time.Time) {
	requestDuration.WithLabelValues("crd", operation).Observe(time.Since(start).Seconds())
}
