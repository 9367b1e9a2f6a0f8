package importer

import (
	"sync"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

var queueDepth = metrics.NewGauge(&metrics.GaugeOpts{
	Name:           "image_apiserver_import_queue_depth",
	Help:           "Image streams that wait for an import asked for by their spec.",
	StabilityLevel: metrics.ALPHA,
})

var registerMetrics = sync.OnceFunc(func() { legacyregistry.MustRegister(queueDepth) })
