package pullsecret

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the figures of this controller. A nil value records nothing. No label holds a name of an object:
// there may be ten thousand of them.
type Metrics struct {
	refreshes *prometheus.CounterVec
	injection prometheus.Histogram
}

// NewMetrics registers the figures that are counted. Those about the present are a collector of its own, see
// Controller.Collector.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "image_registry_operator_pull_secret_refresh_total",
			Help: "Tokens requested and written into pull secrets, by result (success, error) and reason (new, expiring, hosts, key, tampered).",
		}, []string{"result", "reason"}),
		injection: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "image_registry_operator_pull_secret_injection_seconds",
			Help:    "Time from the creation of a ServiceAccount until it refers to a Secret with a token.",
			Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800},
		}),
	}
	for _, collector := range []prometheus.Collector{m.refreshes, m.injection} {
		if err := registerer.Register(collector); err != nil {
			return nil, fmt.Errorf("pull secrets: %w", err)
		}
	}
	for _, reason := range []string{reasonNew, reasonExpiring, reasonHosts, reasonKey, reasonTampered} {
		m.refreshes.WithLabelValues(resultSuccess, reason)
		m.refreshes.WithLabelValues(resultError, reason)
	}
	return m, nil
}

const (
	resultSuccess = "success"
	resultError   = "error"
)

func (m *Metrics) refreshed(reason string, err error) {
	if m == nil {
		return
	}
	result := resultSuccess
	if err != nil {
		result = resultError
	}
	m.refreshes.WithLabelValues(result, reason).Inc()
}

func (m *Metrics) injected(after time.Duration) {
	if m != nil {
		m.injection.Observe(after.Seconds())
	}
}

var stateDesc = prometheus.NewDesc("image_registry_operator_pull_secrets",
	"ServiceAccounts by the state of their pull secret: valid, pending, failed, or ignored because it has none.", []string{"state"}, nil)

// Collector counts the pull secrets when it is asked. While the caches are not filled, as on a standby, it
// has nothing to say.
func (c *Controller) Collector() prometheus.Collector { return collector{c} }

type collector struct{ controller *Controller }

func (collector) Describe(out chan<- *prometheus.Desc) { out <- stateDesc }

func (c collector) Collect(out chan<- prometheus.Metric) {
	if !c.controller.filled() {
		return
	}
	summary, err := c.controller.Summary()
	if err != nil {
		return
	}
	for state, count := range map[string]int{
		"valid": summary.Ready, "pending": summary.Desired - summary.Ready - summary.Failing, "failed": summary.Failing, "ignored": summary.Ignored,
	} {
		out <- prometheus.MustNewConstMetric(stateDesc, prometheus.GaugeValue, float64(count), state)
	}
}
