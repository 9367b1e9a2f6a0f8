package monitoring

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/client-go/util/workqueue"
)

func TestSyncsOfEveryQueueAreFiguresOfItsController(t *testing.T) {
	queue := workqueue.NewTypedRateLimitingQueueWithConfig(workqueue.DefaultTypedControllerRateLimiter[string](),
		workqueue.TypedRateLimitingQueueConfig[string]{Name: "example"})
	defer queue.ShutDown()
	queue.Add("a")
	key, _ := queue.Get()
	queue.AddRateLimited(key)
	queue.Done(key)

	families, err := Gatherer(prometheus.NewRegistry()).Gather()
	if err != nil {
		t.Fatal(err)
	}
	if n := series(families, "image_registry_operator_sync_duration_seconds").GetHistogram().GetSampleCount(); n != 1 {
		t.Errorf("%d syncs, want 1", n)
	}
	if n := series(families, "image_registry_operator_sync_errors_total").GetCounter().GetValue(); n != 1 {
		t.Errorf("%v failed syncs, want 1", n)
	}
	for _, name := range []string{"workqueue_depth", "process_resident_memory_bytes", "go_goroutines"} {
		if !has(families, name) {
			t.Errorf("%s is missing", name)
		}
	}
}

// series is the one of controller example.
func series(families []*dto.MetricFamily, name string) *dto.Metric {
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "controller" && label.GetValue() == "example" {
					return metric
				}
			}
		}
	}
	return nil
}

func has(families []*dto.MetricFamily, name string) bool {
	for _, family := range families {
		if family.GetName() == name {
			return true
		}
	}
	return false
}
