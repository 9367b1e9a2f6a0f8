package quota

import (
	"sync"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

var (
	quotaRejections = metrics.NewCounterVec(&metrics.CounterOpts{
		Name:           "image_apiserver_quota_rejections_total",
		Help:           "Number of writes of image streams that a quota refused, by the resource that was exceeded.",
		StabilityLevel: metrics.ALPHA,
	}, []string{"resource"})
	quotaConflicts = metrics.NewCounter(&metrics.CounterOpts{
		Name:           "image_apiserver_quota_conflicts_total",
		Help:           "Number of reservations that somebody else's write of the same quota came before.",
		StabilityLevel: metrics.ALPHA,
	})
	registerMetrics = sync.OnceFunc(func() { legacyregistry.MustRegister(quotaRejections, quotaConflicts) })
)
