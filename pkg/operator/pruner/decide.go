package pruner

import (
	"errors"
	"fmt"
	"sort"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/conditions"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/pkg/operator/render"
)

// failingGrace is how long applying may fail before it is Degraded.
const failingGrace = 2 * time.Minute

// Input is everything that the status depends on.
type Input struct {
	Now    time.Time
	Pruner *registryv1.ImagePruner
	// RegistryRemoved says that Config is Removed, being deleted or absent.
	RegistryRemoved bool
	// CronJob is nil when it does not exist.
	CronJob *batchv1.CronJob
	// Jobs are those of the CronJob, in any order.
	Jobs []*batchv1.Job
	// Report is what the newest finished Job's Pod said last, nil when it said nothing that can be understood.
	Report *Report
	// Err is why the objects could not be applied; FailingSince is when that began.
	Err          error
	FailingSince time.Time
}

// Decide returns the new status.
func Decide(in Input) registryv1.ImagePrunerStatus {
	status := *in.Pruner.Status.DeepCopy()
	if len(fault.Sort(in.Err).Transient) == 0 {
		status.ObservedGeneration = in.Pruner.Generation
	}
	last := LastFinished(in.Jobs)
	next := []registryv1.OperatorCondition{available(in), scheduled(in), failed(last), degraded(in, last)}
	status.Conditions = conditions.Keep(in.Pruner.Status.Conditions, next, metav1.NewTime(in.Now))
	status.LastRun = lastRun(in.Pruner.Status.LastRun, last, in.Report)
	return status
}

func condition(kind string, status registryv1.ConditionStatus, reason, message string) registryv1.OperatorCondition {
	return registryv1.OperatorCondition{Type: kind, Status: status, Reason: reason, Message: conditions.OneLine(message)}
}

func available(in Input) registryv1.OperatorCondition {
	kind := registryv1.ConditionPrunerAvailable
	switch {
	case in.CronJob == nil && in.Err != nil:
		return condition(kind, registryv1.ConditionFalse, registryv1.ReasonError, "CronJob image-pruner does not exist: "+in.Err.Error())
	case in.CronJob == nil:
		return condition(kind, registryv1.ConditionFalse, registryv1.ReasonError, "CronJob image-pruner does not exist")
	case in.Err != nil:
		return condition(kind, registryv1.ConditionFalse, registryv1.ReasonError, in.Err.Error())
	default:
		return condition(kind, registryv1.ConditionTrue, registryv1.ReasonAsExpected, "CronJob image-pruner is as asked for")
	}
}

func scheduled(in Input) registryv1.OperatorCondition {
	kind := registryv1.ConditionPrunerScheduled
	switch {
	case in.RegistryRemoved:
		return condition(kind, registryv1.ConditionFalse, registryv1.ReasonRegistryRemoved, "scheduled pruning is unavailable while Config cluster is Removed")
	case in.Pruner.Spec.Suspend != nil && *in.Pruner.Spec.Suspend:
		return condition(kind, registryv1.ConditionFalse, registryv1.ReasonSuspended, "spec.suspend of ImagePruner cluster is true")
	case render.NeverComes(in.Pruner.Spec.Schedule):
		return condition(kind, registryv1.ConditionFalse, registryv1.ReasonInvalidSchedule,
			"spec.schedule of ImagePruner cluster names a day that no month has, so no run will start; correct it, or set spec.suspend to true")
	default:
		return condition(kind, registryv1.ConditionTrue, registryv1.ReasonScheduled, "the pruner runs by its schedule")
	}
}

func failed(last *batchv1.Job) registryv1.OperatorCondition {
	kind := registryv1.ConditionPrunerFailed
	switch {
	case last == nil:
		return condition(kind, registryv1.ConditionFalse, registryv1.ReasonNotRunYet, "no Job of the pruner has finished yet")
	case jobCondition(last, batchv1.JobFailed) != nil:
		why := jobCondition(last, batchv1.JobFailed)
		return condition(kind, registryv1.ConditionTrue, why.Reason, fmt.Sprintf("Job %s failed: %s", last.Name, why.Message))
	default:
		return condition(kind, registryv1.ConditionFalse, registryv1.ReasonComplete, "the last Job of the pruner succeeded")
	}
}

func degraded(in Input, last *batchv1.Job) registryv1.OperatorCondition {
	kind := registryv1.ConditionPrunerDegraded
	var permanent *fault.Permanent
	switch {
	case errors.As(in.Err, &permanent):
		return condition(kind, registryv1.ConditionTrue, permanent.Reason, permanent.Message)
	case !in.FailingSince.IsZero() && in.Now.Sub(in.FailingSince) >= failingGrace && in.Err != nil:
		return condition(kind, registryv1.ConditionTrue, registryv1.ReasonSyncError, in.Err.Error())
	case last != nil && jobCondition(last, batchv1.JobFailed) != nil:
		return condition(kind, registryv1.ConditionTrue, registryv1.ReasonJobFailed, fmt.Sprintf("Job %s failed; see its Pod", last.Name))
	default:
		return condition(kind, registryv1.ConditionFalse, registryv1.ReasonAsExpected, "")
	}
}

// LastFinished is the Job that finished most recently, nil when none has.
func LastFinished(jobs []*batchv1.Job) *batchv1.Job {
	var finished []*batchv1.Job
	for _, job := range jobs {
		if end(job) != nil {
			finished = append(finished, job)
		}
	}
	if len(finished) == 0 {
		return nil
	}
	sort.Slice(finished, func(i, j int) bool {
		a, b := end(finished[i]), end(finished[j])
		if a.Equal(b) {
			return finished[i].Name < finished[j].Name
		}
		return a.Before(b)
	})
	return finished[len(finished)-1]
}

// end is when a Job finished, nil while it runs.
func end(job *batchv1.Job) *metav1.Time {
	for _, kind := range []batchv1.JobConditionType{batchv1.JobComplete, batchv1.JobFailed} {
		if c := jobCondition(job, kind); c != nil {
			return &c.LastTransitionTime
		}
	}
	return nil
}

func jobCondition(job *batchv1.Job, kind batchv1.JobConditionType) *batchv1.JobCondition {
	for i := range job.Status.Conditions {
		if job.Status.Conditions[i].Type == kind && job.Status.Conditions[i].Status == corev1.ConditionTrue {
			return &job.Status.Conditions[i]
		}
	}
	return nil
}
