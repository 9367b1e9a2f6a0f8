package registryconfig

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/storage"
)

// Behaviour 52: a change of the storage counts once, however often the status could not be written.
func TestAChangeOfTheStorageCountsOnce(t *testing.T) {
	config := removedConfig("old")
	f := newFixture(t, config)
	var err error
	if f.Metrics, err = NewMetrics(prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	to := func(claim string) storage.Plan {
		return storage.Plan{Effective: registryv1.StorageSpec{PVC: &registryv1.PVCStorage{Claim: claim}}}
	}
	for _, step := range []struct {
		claim string
		want  float64
	}{{"old", 0}, {"new", 1}, {"new", 1}, {"other", 2}, {"new", 3}} {
		f.tellAboutStorage(config, to(step.claim))
		if got := testutil.ToFloat64(f.Metrics.reconfigured); got != step.want {
			t.Errorf("to %s: counted %v, want %v", step.claim, got, step.want)
		}
	}
}
