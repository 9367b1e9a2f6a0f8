package pruner

import (
	"errors"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
)

var now = time.Unix(1_800_000_000, 0).UTC()

func job(name string, ended time.Time, kind batchv1.JobConditionType) *batchv1.Job {
	j := &batchv1.Job{}
	j.Name = name
	if kind != "" {
		j.Status.Conditions = []batchv1.JobCondition{{Type: kind, Status: corev1.ConditionTrue, Reason: "BackoffLimitExceeded", LastTransitionTime: metav1.NewTime(ended)}}
	}
	return j
}

// Behaviours 75 to 77.
func TestConditionsOfThePruner(t *testing.T) {
	failed, done := job("b", now, batchv1.JobFailed), job("a", now.Add(-time.Hour), batchv1.JobComplete)
	for _, test := range []struct {
		name                                 string
		change                               func(*Input)
		available, scheduled, fails, degrade string
	}{
		{"fresh", func(*Input) {}, "True/AsExpected", "True/Scheduled", "False/NotRunYet", "False/AsExpected"},
		{"suspended", func(in *Input) { in.Pruner.Spec.Suspend = ptr.To(true) }, "True/AsExpected", "False/Suspended", "False/NotRunYet", "False/AsExpected"},
		{"a day that never comes", func(in *Input) { in.Pruner.Spec.Schedule = "0 0 30 2 *" }, "True/AsExpected", "False/InvalidSchedule", "False/NotRunYet", "False/AsExpected"},
		{"a day that comes in leap years", func(in *Input) { in.Pruner.Spec.Schedule = "0 0 29 2 *" }, "True/AsExpected", "True/Scheduled", "False/NotRunYet", "False/AsExpected"},
		{"registry removed", func(in *Input) { in.RegistryRemoved = true }, "True/AsExpected", "False/RegistryRemoved", "False/NotRunYet", "False/AsExpected"},
		{"running", func(in *Input) { in.Jobs = []*batchv1.Job{job("c", now, "")} }, "True/AsExpected", "True/Scheduled", "False/NotRunYet", "False/AsExpected"},
		{"the newest failed", func(in *Input) { in.Jobs = []*batchv1.Job{failed, done} }, "True/AsExpected", "True/Scheduled", "True/BackoffLimitExceeded", "True/JobFailed"},
		{"succeeded later", func(in *Input) {
			in.Jobs = []*batchv1.Job{failed, job("z", now.Add(time.Hour), batchv1.JobComplete)}
		}, "True/AsExpected", "True/Scheduled", "False/Complete", "False/AsExpected"},
		{"bad schedule", func(in *Input) { in.Err = fault.Permanentf("InvalidSchedule", "x") }, "False/Error", "True/Scheduled", "False/NotRunYet", "True/InvalidSchedule"},
		{"cannot apply", func(in *Input) { in.Err, in.FailingSince = errors.New("busy"), now }, "False/Error", "True/Scheduled", "False/NotRunYet", "False/AsExpected"},
		{"cannot apply for two minutes", func(in *Input) { in.Err, in.FailingSince = errors.New("busy"), now.Add(-2*time.Minute) }, "False/Error", "True/Scheduled", "False/NotRunYet", "True/SyncError"},
		{"no CronJob", func(in *Input) { in.CronJob = nil }, "False/Error", "True/Scheduled", "False/NotRunYet", "False/AsExpected"},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := Input{Now: now, Pruner: &registryv1.ImagePruner{}, CronJob: &batchv1.CronJob{}}
			test.change(&in)
			got := map[string]string{}
			for _, c := range Decide(in).Conditions {
				got[c.Type] = string(c.Status) + "/" + c.Reason
			}
			for kind, want := range map[string]string{"Available": test.available, "Scheduled": test.scheduled, "Failed": test.fails, "Degraded": test.degrade} {
				if got[kind] != want {
					t.Errorf("%s is %s, want %s", kind, got[kind], want)
				}
			}
		})
	}
}

// Behaviour 78.
func TestInstallStatus(t *testing.T) {
	suspended := &batchv1.CronJob{Spec: batchv1.CronJobSpec{Suspend: ptr.To(true)}}
	if InstallStatus(nil) != 0 || InstallStatus(suspended) != 1 || InstallStatus(&batchv1.CronJob{}) != 2 {
		t.Error("want 0, 1 and 2")
	}
}
