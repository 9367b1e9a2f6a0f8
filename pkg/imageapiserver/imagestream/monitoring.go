package imagestream

import (
	"sync"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

var (
	// encodedBytes shows streams that grow towards MaxJSONSize before their writers are refused.
	encodedBytes = metrics.NewHistogram(&metrics.HistogramOpts{
		Name:           "image_apiserver_imagestream_encoded_bytes",
		Help:           "Size of image streams as JSON when they were written.",
		Buckets:        metrics.ExponentialBuckets(1<<10, 4, 8),
		StabilityLevel: metrics.ALPHA,
	})
	registerMetrics = sync.OnceFunc(func() { legacyregistry.MustRegister(encodedBytes) })
)
