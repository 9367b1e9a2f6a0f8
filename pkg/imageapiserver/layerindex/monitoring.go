package layerindex

import (
	"sync"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

var (
	indexedImages = metrics.NewGauge(&metrics.GaugeOpts{
		Name:           "image_apiserver_layer_index_images",
		Help:           "Number of Images in the layer index.",
		StabilityLevel: metrics.ALPHA,
	})
	registerMetrics = sync.OnceFunc(func() { legacyregistry.MustRegister(indexedImages) })
)
