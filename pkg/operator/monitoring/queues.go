package monitoring

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/component-base/metrics/legacyregistry"
	_ "k8s.io/component-base/metrics/prometheus/restclient" // requests of client-go
	_ "k8s.io/component-base/metrics/prometheus/workqueue"  // work queues
)

// renamed are the figures about syncs, and those of the work queues that they are made of. A queue has the name
// of its controller, a sync lasts from taking an item to having done it, and only what failed is added again
// with a back-off.
var renamed = map[string]struct{ name, help string }{
	"workqueue_work_duration_seconds": {"image_registry_operator_sync_duration_seconds", "Time of one sync."},
	"workqueue_retries_total":         {"image_registry_operator_sync_errors_total", "Syncs that failed, or met a conflict, and are tried again with a back-off."},
}

// Gatherer joins the figures of the controllers with those of the process: work queues, requests to the API
// server, memory and processor.
func Gatherer(controllers prometheus.Gatherer) prometheus.Gatherer {
	return prometheus.Gatherers{controllers, prometheus.GathererFunc(ofProcess)}
}

func ofProcess() ([]*dto.MetricFamily, error) {
	families, err := legacyregistry.DefaultGatherer.Gather()
	var syncs []*dto.MetricFamily
	for _, family := range families {
		if to, ok := renamed[family.GetName()]; ok {
			syncs = append(syncs, asSync(family, to.name, to.help))
		}
	}
	return append(families, syncs...), err
}

// asSync is a family of the queues under its name here, by controller instead of by queue.
func asSync(family *dto.MetricFamily, name, help string) *dto.MetricFamily {
	out := &dto.MetricFamily{Name: new(name), Help: new(help), Type: family.Type}
	for _, metric := range family.GetMetric() {
		copied := &dto.Metric{Counter: metric.Counter, Histogram: metric.Histogram}
		for _, label := range metric.GetLabel() {
			if label.GetName() == "name" {
				copied.Label = append(copied.Label, &dto.LabelPair{Name: new("controller"), Value: label.Value})
			}
		}
		out.Metric = append(out.Metric, copied)
	}
	return out
}
