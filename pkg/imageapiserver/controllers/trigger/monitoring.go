package trigger

import (
	"sync"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

// Results of updates, as the metric counts them.
const (
	resultUpdated   = "updated"
	resultFailed    = "failed"
	resultForbidden = "forbidden"
	resultConflict  = "conflict"
)

var (
	updatesTotal = metrics.NewCounterVec(&metrics.CounterOpts{
		Name:           "image_apiserver_trigger_updates_total",
		Help:           "Number of workloads that were to follow an image stream tag, by kind and result: updated, failed, forbidden, conflict.",
		StabilityLevel: metrics.ALPHA,
	}, []string{"kind", "result"})
	registerMetrics = sync.OnceFunc(func() { legacyregistry.MustRegister(updatesTotal) })
)
