package pruner

import (
	"encoding/json"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

// maxReport is far above what Kubernetes keeps of a termination message.
const maxReport = 64 << 10

// Report is what is believed of a termination message: numbers. Texts are left behind, because they end in a
// status that every administrator's tool shows, and times, because the Job has them from the cluster's clock.
type Report struct {
	Summary registryv1.PruneSummary
	// Images and ImageStreams were looked at; InvalidReferences could not be understood.
	Images, ImageStreams, InvalidReferences int64
}

// ParseReport reads a termination message. It may also be the end of a log, or anything else that a Pod wrote.
func ParseReport(text string) (*Report, error) {
	if len(text) > maxReport {
		return nil, fmt.Errorf("termination message of %d bytes", len(text))
	}
	var document struct {
		registryv1.PruneSummary
		Result            *string `json:"result"`
		Images            int64   `json:"images"`
		ImageStreams      int64   `json:"imageStreams"`
		InvalidReferences int64   `json:"invalidReferences"`
	}
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		return nil, fmt.Errorf("termination message: %w", err)
	}
	if document.Result == nil {
		return nil, fmt.Errorf("termination message without a result")
	}
	s := document.PruneSummary
	for _, number := range []int64{
		s.ImagesDeleted, s.TagRevisionsDeleted, s.ImageStreamsUpdated, s.LayerLinksDeleted, s.ManifestLinksDeleted, s.BlobsDeleted,
		s.BytesReclaimed, s.Skipped, s.Failed, document.Images, document.ImageStreams, document.InvalidReferences,
	} {
		if number < 0 {
			return nil, fmt.Errorf("termination message with the number %d", number)
		}
	}
	return &Report{Summary: s, Images: document.Images, ImageStreams: document.ImageStreams, InvalidReferences: document.InvalidReferences}, nil
}

// LastWords returns the report of the Pod of a Job that ended last, nil when none left one.
func LastWords(job *batchv1.Job, pods []corev1.Pod) *Report {
	var words string
	var at metav1.Time
	for i := range pods {
		if !metav1.IsControlledBy(&pods[i], job) {
			continue
		}
		ended := terminated(&pods[i])
		if ended != nil && !ended.FinishedAt.Before(&at) {
			words, at = ended.Message, ended.FinishedAt
		}
	}
	report, err := ParseReport(words)
	if err != nil {
		return nil
	}
	return report
}

func terminated(pod *corev1.Pod) *corev1.ContainerStateTerminated {
	for _, status := range pod.Status.ContainerStatuses {
		if status.Name == registryv1.PrunerName {
			return status.State.Terminated
		}
	}
	return nil
}

// lastRun is what is known about the newest finished Job. What was known before stays when it is newer, because
// Jobs are deleted one by one, and its numbers stay when the Pod that said them is gone.
func lastRun(before *registryv1.PruneRunStatus, job *batchv1.Job, report *Report) *registryv1.PruneRunStatus {
	if job == nil {
		return before
	}
	run := &registryv1.PruneRunStatus{StartTime: job.Status.StartTime, CompletionTime: end(job), Result: "Succeeded"}
	if jobCondition(job, batchv1.JobFailed) != nil {
		run.Result = "Failed"
	}
	if report != nil {
		run.PruneSummary = report.Summary
	}
	switch {
	case before == nil:
		return run
	case run.CompletionTime.Before(before.CompletionTime):
		return before
	case report == nil && run.StartTime.Equal(before.StartTime) && run.CompletionTime.Equal(before.CompletionTime):
		run.PruneSummary = before.PruneSummary
	}
	return run
}
