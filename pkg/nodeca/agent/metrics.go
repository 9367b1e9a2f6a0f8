package agent

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the metrics of the node agent.
type Metrics struct {
	Registry *prometheus.Registry

	lastSuccess prometheus.Gauge
	passes      *prometheus.CounterVec
	duration    prometheus.Histogram
	effective   *prometheus.GaugeVec
	condition   *prometheus.GaugeVec
	written     *prometheus.CounterVec
	removed     *prometheus.CounterVec
	tampered    *prometheus.CounterVec
	hostsWrites prometheus.Counter
	hostsOK     prometheus.Gauge
	notAfter    *prometheus.GaugeVec
	configHash  *prometheus.GaugeVec
}

// NewMetrics makes the metrics in a registry of their own.
func NewMetrics() *Metrics {
	m := &Metrics{
		Registry:    prometheus.NewRegistry(),
		lastSuccess: gauge("last_success_timestamp_seconds", "When the last pass ended with the node ready."),
		passes:      counters("passes_total", "Passes by result.", "result"),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "node_ca_pass_duration_seconds",
			Help: "Duration of a pass.", Buckets: []float64{.005, .02, .1, .5, 2, 10}}),
		effective:   gauges("trust_effective", "Whether the runtime reads the trust root: 1, 0, or -1 if unknown.", "root", "kind"),
		condition:   gauges("condition", "1 while the reason is present.", "reason", "severity"),
		written:     counters("files_written_total", "Files written.", "root"),
		removed:     counters("files_removed_total", "Files removed.", "root"),
		tampered:    counters("tampered_total", "Owned files found changed by somebody else.", "kind"),
		hostsWrites: prometheus.NewCounter(prometheus.CounterOpts{Name: "node_ca_hosts_file_writes_total", Help: "Writes to /etc/hosts."}),
		hostsOK:     gauge("hosts_file_ok", "Whether /etc/hosts is as wanted."),
		notAfter:    gauges("certificate_not_after_seconds", "Earliest end of validity of the CAs of a host.", "host"),
		configHash:  gauges("config_hash_info", "Hash of the applied certificates.", "hash"),
	}
	m.Registry.MustRegister(m.lastSuccess, m.passes, m.duration, m.effective, m.condition, m.written, m.removed,
		m.tampered, m.hostsWrites, m.hostsOK, m.notAfter, m.configHash)
	return m
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: "node_ca_" + name, Help: help})
}

func gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "node_ca_" + name, Help: help}, labels)
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "node_ca_" + name, Help: help}, labels)
}

// observe publishes one pass.
func (m *Metrics) observe(o *outcome, duration time.Duration) {
	m.duration.Observe(duration.Seconds())
	if o.status.Ready {
		m.passes.WithLabelValues("success").Inc()
		m.lastSuccess.Set(float64(o.status.Time.Unix()))
	} else {
		m.passes.WithLabelValues("failure").Inc()
	}
	m.effective.Reset()
	for i, root := range o.effects {
		m.effective.WithLabelValues(o.status.Roots[i].Path, string(root.Kind)).Set(float64(root.Effect))
	}
	m.condition.Reset()
	for _, reason := range o.status.Reasons {
		m.condition.WithLabelValues(reason.Reason, string(reason.Severity)).Set(1)
	}
	addAll(m.written, o.written)
	addAll(m.removed, o.removed)
	addAll(m.tampered, o.tampered)
	m.hostsWrites.Add(float64(o.hostsWrites))
	m.hostsOK.Set(0)
	if o.hostsOK {
		m.hostsOK.Set(1)
	}
	m.notAfter.Reset()
	for _, host := range o.status.Hosts {
		m.notAfter.WithLabelValues(host.Name).Set(float64(host.NotAfter.Unix()))
	}
	m.configHash.Reset()
	if o.status.ConfigHash != "" {
		m.configHash.WithLabelValues(o.status.ConfigHash).Set(1)
	}
}

func addAll(vector *prometheus.CounterVec, counts map[string]int) {
	for label, count := range counts {
		if count > 0 {
			vector.WithLabelValues(label).Add(float64(count))
		}
	}
}
