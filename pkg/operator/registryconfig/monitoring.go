package registryconfig

import (
	"github.com/prometheus/client_golang/prometheus"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/storage"
)

// Metrics are the figures of this controller. A nil value records nothing.
type Metrics struct {
	condition    *prometheus.GaugeVec
	storageType  *prometheus.GaugeVec
	reconfigured prometheus.Counter
	expiry       *prometheus.GaugeVec
	drift        *prometheus.CounterVec
}

// NewMetrics registers the figures.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		condition: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "image_registry_operator_condition", Help: "Conditions of Config cluster; the value is always 1.",
		}, []string{"type", "status", "reason"}),
		storageType: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "image_registry_storage_type", Help: "Kind of storage in use; the value is always 1.",
		}, []string{"storage"}),
		reconfigured: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "image_registry_operator_storage_reconfigured_total", Help: "Changes of the place where images are stored.",
		}),
		expiry: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "image_registry_operator_certificate_expiry_timestamp_seconds", Help: "End of life of a certificate.",
		}, []string{"name"}),
		drift: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "image_registry_operator_drift_corrections_total", Help: "Objects that others had changed and that were put back.",
		}, []string{"kind", "name"}),
	}
	for _, collector := range []prometheus.Collector{m.condition, m.storageType, m.reconfigured, m.expiry, m.drift} {
		if err := registerer.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) storageChanged() {
	if m != nil {
		m.reconfigured.Inc()
	}
}

// Corrected counts an object that was put back.
func (m *Metrics) Corrected(ref apply.Ref) {
	if m != nil {
		m.drift.WithLabelValues(ref.Kind, ref.Name).Inc()
	}
}

// report replaces the gauges that describe the present: a series of an earlier state must not stay.
func (m *Metrics) report(status registryv1.ConfigStatus) {
	if m == nil {
		return
	}
	m.condition.Reset()
	for _, condition := range status.Conditions {
		m.condition.WithLabelValues(condition.Type, string(condition.Status), condition.Reason).Set(1)
	}
	m.storageType.Reset()
	if kind := storage.Type(status.Storage); kind != "" {
		m.storageType.WithLabelValues(kind).Set(1)
	}
	m.expiry.Reset()
	for _, certificate := range status.Certificates {
		m.expiry.WithLabelValues(certificate.Name).Set(float64(certificate.NotAfter.Unix()))
	}
}
