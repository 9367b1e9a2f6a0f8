package pruner

import (
	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

// Metrics are the figures of this controller. A nil value records nothing.
type Metrics struct {
	install   prometheus.Gauge
	at        prometheus.Gauge
	duration  prometheus.Gauge
	success   prometheus.Gauge
	deleted   *prometheus.GaugeVec
	reclaimed prometheus.Gauge
	skipped   prometheus.Gauge
	failed    *prometheus.GaugeVec

	images, imageStreams, invalidReferences prometheus.Gauge
}

// NewMetrics registers the figures.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &Metrics{
		install:   gauge("image_registry_operator_image_pruner_install_status", "0 no CronJob, 1 suspended, 2 enabled."),
		at:        gauge("image_pruner_last_run_timestamp_seconds", "End of the last run."),
		duration:  gauge("image_pruner_last_run_duration_seconds", "Time of the last run."),
		success:   gauge("image_pruner_last_run_success", "1 if the last run succeeded."),
		reclaimed: gauge("image_pruner_last_run_reclaimed_bytes", "Bytes that the last run freed."),
		skipped:   gauge("image_pruner_last_run_skipped", "Objects that the last run skipped."),
		deleted: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "image_pruner_last_run_deleted", Help: "What the last run deleted.",
		}, []string{"kind"}),
		failed: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "image_pruner_last_run_failed", Help: "What the last run could not do.",
		}, []string{"phase"}),
		images:            gauge("image_pruner_images", "Images that the last run looked at."),
		imageStreams:      gauge("image_pruner_imagestreams", "Image streams that the last run looked at."),
		invalidReferences: gauge("image_pruner_invalid_references", "References to images that the last run could not understand."),
	}
	for _, collector := range []prometheus.Collector{
		m.install, m.at, m.duration, m.success, m.deleted, m.reclaimed, m.skipped, m.failed, m.images, m.imageStreams, m.invalidReferences,
	} {
		if err := registerer.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// InstallStatus is 0 without a CronJob, 1 while it is suspended, 2 when it runs.
func InstallStatus(job *batchv1.CronJob) float64 {
	switch {
	case job == nil:
		return 0
	case job.Spec.Suspend != nil && *job.Spec.Suspend:
		return 1
	default:
		return 2
	}
}

// everyPhase is the phase of what the last run could not do: its report does not tell them apart.
const everyPhase = "all"

// report takes the run from the status, which outlives the process, and what only the Pod knows from its report.
func (m *Metrics) report(job *batchv1.CronJob, status registryv1.ImagePrunerStatus, report *Report) {
	if m == nil {
		return
	}
	m.install.Set(InstallStatus(job))
	if report != nil {
		m.images.Set(float64(report.Images))
		m.imageStreams.Set(float64(report.ImageStreams))
		m.invalidReferences.Set(float64(report.InvalidReferences))
	}
	run := status.LastRun
	if run == nil || run.CompletionTime == nil {
		return
	}
	m.at.Set(float64(run.CompletionTime.Unix()))
	if run.StartTime != nil {
		m.duration.Set(run.CompletionTime.Sub(run.StartTime.Time).Seconds())
	}
	m.success.Set(0)
	if run.Result == "Succeeded" {
		m.success.Set(1)
	}
	m.deleted.WithLabelValues("images").Set(float64(run.ImagesDeleted))
	m.deleted.WithLabelValues("tagRevisions").Set(float64(run.TagRevisionsDeleted))
	m.deleted.WithLabelValues("layerLinks").Set(float64(run.LayerLinksDeleted))
	m.deleted.WithLabelValues("manifestLinks").Set(float64(run.ManifestLinksDeleted))
	m.deleted.WithLabelValues("blobs").Set(float64(run.BlobsDeleted))
	m.reclaimed.Set(float64(run.BytesReclaimed))
	m.skipped.Set(float64(run.Skipped))
	m.failed.WithLabelValues(everyPhase).Set(float64(run.Failed))
}
