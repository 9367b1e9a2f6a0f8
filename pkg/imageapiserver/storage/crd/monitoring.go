package crd

import (
	"sync"
	"time"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

// The metrics are shared by all stores of the process.
var (
	requestDuration = metrics.NewHistogramVec(&metrics.HistogramOpts{
		Name:           "image_apiserver_storage_request_duration_seconds",
		Help:           "Duration of requests to the storage of images and image streams.",
		Buckets:        metrics.ExponentialBuckets(0.001, 2, 14),
		StabilityLevel: metrics.ALPHA,
	}, []string{"backend", "operation"})
	storedObjects = metrics.NewGaugeVec(&metrics.GaugeOpts{
		Name:           "image_apiserver_stored_objects",
		Help:           "Number of objects in the storage, counted once a minute.",
		StabilityLevel: metrics.ALPHA,
	}, []string{"resource"})
	registerMetrics = sync.OnceFunc(func() { legacyregistry.MustRegister(requestDuration, storedObjects) })
)

// observe records the duration of an operation that started at the given time.
func observe(operation string, start time.Time) {
	requestDuration.WithLabelValues("crd", operation).Observe(time.Since(start).Seconds())
}
