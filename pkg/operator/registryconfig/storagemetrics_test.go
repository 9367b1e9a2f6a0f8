package registryconfig

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/storage"
)

// Behaviour 52: exactly one kind of storage is shown, and each switch is counted once and told of, however many
// syncs see it.
func TestASwitchIsCountedOnceAndLeavesOneSeries(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	events := 0
	c := &Controller{Options: Options{Metrics: metrics, Events: func(_, reason, _ string) {
		if reason == "StorageBackendChanged" {
			events++
		}
	}}}
	s3 := registryv1.StorageSpec{S3: &registryv1.S3Storage{Bucket: "images", Region: "r"}}
	pvc := registryv1.StorageSpec{PVC: &registryv1.PVCStorage{Claim: "data"}}
	config := &registryv1.Config{}
	for i, next := range []registryv1.StorageSpec{s3, pvc, s3} {
		c.tellAboutStorage(config, storage.Plan{Effective: next})
		c.tellAboutStorage(config, storage.Plan{Effective: next}) // the status is not written yet
		config.Status.Storage = next.DeepCopy()
		c.tellAboutStorage(config, storage.Plan{Effective: next})
		metrics.report(config.Status)
		kinds, switches := gathered(t, registry)
		if len(kinds) != 1 || kinds[0] != storage.Type(&next) || int(switches) != i || events != i {
			t.Errorf("after %d switches: series %v, counter %v, events %d", i, kinds, switches, events)
		}
	}
}

func gathered(t *testing.T, registry *prometheus.Registry) (kinds []string, switches float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			switch family.GetName() {
			case "image_registry_storage_type":
				kinds = append(kinds, metric.GetLabel()[0].GetValue())
			case "image_registry_operator_storage_reconfigured_total":
				switches += metric.GetCounter().GetValue()
			}
		}
	}
	return kinds, switches
}
