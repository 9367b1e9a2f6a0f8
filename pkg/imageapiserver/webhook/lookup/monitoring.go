package lookup

import (
	"sync"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

var (
	requests = metrics.NewCounterVec(&metrics.CounterOpts{
		Name:           "image_apiserver_lookup_requests_total",
		Help:           "Number of admission reviews about short image names, by result: resolved, unchanged, disabled, refused, overloaded, not_ready.",
		StabilityLevel: metrics.ALPHA,
	}, []string{"result"})
	registerMetrics = sync.OnceFunc(func() { legacyregistry.MustRegister(requests) })
)
