package importer

import (
	"strconv"
	"sync"
	"time"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

var (
	imports = metrics.NewCounterVec(&metrics.CounterOpts{
		Name:           "image_apiserver_imports_total",
		Help:           "Images looked up in other registries, by registry and outcome. Registries that are not among the most used ones count as other.",
		StabilityLevel: metrics.ALPHA,
	}, []string{"scheduled", "registry", "result", "reason"})
	duration = metrics.NewHistogramVec(&metrics.HistogramOpts{
		Name:           "image_apiserver_import_duration_seconds",
		Help:           "Time that a whole import request took.",
		Buckets:        metrics.ExponentialBuckets(0.05, 2, 14),
		StabilityLevel: metrics.ALPHA,
	}, []string{"scheduled"})
	registerMetrics = sync.OnceFunc(func() { legacyregistry.MustRegister(imports, duration) })
	knownHosts      = newHostLabels(50, 1000)
)

// Values of the label result.
const (
	resultImported  = "imported"
	resultUnchanged = "unchanged"
	resultFailed    = "failed"
)

// record counts a request that has ended.
func record(request *Request, orders []*order, result *Result, took time.Duration) {
	scheduled := strconv.FormatBool(request.Scheduled)
	duration.WithLabelValues(scheduled).Observe(took.Seconds())
	for i := range result.Items {
		if unit := orders[i].unit; unit != nil {
			count(scheduled, unit.lookupKey.repository.host, &result.Items[i])
		}
	}
	if result.Repository == nil {
		return
	}
	written, failure := repositoryReference(request.Repository.From)
	if failure != nil {
		return
	}
	host := (&plan{}).repository(written.DockerClientDefaults(), Policy{}).host
	if failure := result.Repository.Err; failure != nil {
		count(scheduled, host, &ItemResult{Err: failure})
	}
	for i := range result.Repository.Tags {
		count(scheduled, host, &result.Repository.Tags[i])
	}
}

func count(scheduled, host string, item *ItemResult) {
	result, reason := resultImported, ""
	switch {
	case item.Err != nil:
		result, reason = resultFailed, string(item.Err.Reason)
	case item.Unchanged:
		result = resultUnchanged
	}
	label, displaced := knownHosts.use(host)
	if displaced != "" {
		forget(displaced)
	}
	imports.WithLabelValues(scheduled, label, result, reason).Inc()
}

// forget removes the series of a host that lost its label.
func forget(host string) {
	for _, scheduled := range []string{"true", "false"} {
		for _, result := range []string{resultImported, resultUnchanged} {
			imports.Delete(map[string]string{"scheduled": scheduled, "registry": host, "result": result, "reason": ""})
		}
		for reason := range codes {
			imports.Delete(map[string]string{"scheduled": scheduled, "registry": host, "result": resultFailed, "reason": string(reason)})
		}
	}
}

// otherHosts is the label of hosts that are not among the most used ones.
const otherHosts = "other"

// hostLabels bounds the values of a label: users choose the hosts. The most used hosts keep
// their name.
type hostLabels struct {
	labels, candidates int

	mu sync.Mutex
	// labelled and waiting count uses. waiting starts anew when it is full.
	labelled, waiting map[string]int
}

func newHostLabels(labels, candidates int) *hostLabels {
	return &hostLabels{labels: labels, candidates: candidates, labelled: map[string]int{}, waiting: map[string]int{}}
}

// use counts a use and returns the label of the host, and the host whose label it took.
func (h *hostLabels) use(host string) (label, displaced string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, found := h.labelled[host]; found || len(h.labelled) < h.labels {
		h.labelled[host]++
		return host, ""
	}
	if len(h.waiting) >= h.candidates {
		clear(h.waiting)
	}
	h.waiting[host]++
	least := ""
	for candidate, uses := range h.labelled {
		if least == "" || uses < h.labelled[least] || uses == h.labelled[least] && candidate < least {
			least = candidate
		}
	}
	if h.waiting[host] <= h.labelled[least] {
		return otherHosts, ""
	}
	h.labelled[host] = h.waiting[host]
	delete(h.waiting, host)
	delete(h.labelled, least)
	return host, least
}
