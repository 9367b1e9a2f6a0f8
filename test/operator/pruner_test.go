//go:build component

package operator

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

const prunerReport = `{"startTime":"2030-01-02T03:04:05Z","completionTime":"2030-01-02T03:05:35Z","result":"Failed",` +
	`"imagesDeleted":4,"tagRevisionsDeleted":9,"failed":1,"images":12,"imageStreams":3,"errors":["Bearer hunter2"]}`

func (c *cluster) pruner() *registryv1.ImagePruner {
	pruner, err := c.registry.ImageregistryV1().ImagePruners().Get(c.t.Context(), registryv1.SingletonName, metav1.GetOptions{})
	if err != nil {
		return &registryv1.ImagePruner{}
	}
	return pruner
}

func (c *cluster) editPruner(change func(*registryv1.ImagePrunerSpec)) {
	c.t.Helper()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		pruner, err := c.registry.ImageregistryV1().ImagePruners().Get(c.t.Context(), registryv1.SingletonName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(&pruner.Spec)
		_, err = c.registry.ImageregistryV1().ImagePruners().Update(c.t.Context(), pruner, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		c.t.Fatalf("edit ImagePruner: %v", err)
	}
}

// waitForPruner waits for conditions of ImagePruner, each written as Type=Status/Reason.
func (c *cluster) waitForPruner(conditions ...string) {
	c.t.Helper()
	c.eventually(strings.Join(conditions, ", "), func() (bool, string) {
		var have []string
		for _, condition := range c.pruner().Status.Conditions {
			have = append(have, fmt.Sprintf("%s=%s/%s", condition.Type, condition.Status, condition.Reason))
		}
		for _, want := range conditions {
			if !slices.Contains(have, want) {
				return false, strings.Join(have, ", ")
			}
		}
		return true, ""
	})
}

func (c *cluster) cronJob() *batchv1.CronJob {
	c.t.Helper()
	job, err := c.kube.BatchV1().CronJobs(ns).Get(c.t.Context(), registryv1.PrunerName, metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return job
}

func (c *cluster) waitForCronJob(what string, holds func(batchv1.CronJobSpec) bool) {
	c.t.Helper()
	c.eventually(what, func() (bool, string) {
		job, err := c.kube.BatchV1().CronJobs(ns).Get(c.t.Context(), registryv1.PrunerName, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return holds(job.Spec), fmt.Sprintf("suspended %t, schedule %q", *job.Spec.Suspend, job.Spec.Schedule)
	})
}

// job creates a Job of the CronJob as its controller would; without owner it is somebody else's.
func (c *cluster) job(name string, owned bool) *batchv1.Job {
	c.t.Helper()
	cronJob := c.cronJob()
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: cronJob.Spec.JobTemplate.Labels}, Spec: *cronJob.Spec.JobTemplate.Spec.DeepCopy()}
	if owned {
		job.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(cronJob, batchv1.SchemeGroupVersion.WithKind("CronJob"))}
	}
	job, err := c.kube.BatchV1().Jobs(ns).Create(c.t.Context(), job, metav1.CreateOptions{})
	if err != nil {
		c.t.Fatalf("create Job %s: %v", name, err)
	}
	return job
}

// finish ends a Job as the Job controller would, the given time after the beginning of the test.
func (c *cluster) finish(job *batchv1.Job, kind batchv1.JobConditionType, at time.Time) {
	c.t.Helper()
	ended := metav1.NewTime(at)
	before := batchv1.JobFailureTarget
	if kind == batchv1.JobComplete {
		before = batchv1.JobSuccessCriteriaMet
		job.Status.CompletionTime, job.Status.Succeeded = &ended, 1
	} else {
		job.Status.Failed = 1
	}
	job.Status.StartTime = ptr.To(metav1.NewTime(at.Add(-time.Minute)))
	for _, one := range []batchv1.JobConditionType{before, kind} {
		job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{
			Type: one, Status: corev1.ConditionTrue, Reason: "BackoffLimitExceeded", Message: "Job has reached the specified backoff limit", LastTransitionTime: ended,
		})
	}
	if _, err := c.kube.BatchV1().Jobs(ns).UpdateStatus(c.t.Context(), job, metav1.UpdateOptions{}); err != nil {
		c.t.Fatalf("finish Job %s: %v", job.Name, err)
	}
}

// pod creates the Pod of a Job, which has ended with the given last words.
func (c *cluster) pod(job *batchv1.Job, words string, change func(*corev1.Pod)) {
	c.t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: job.Name + "-x", Labels: map[string]string{batchv1.JobNameLabel: job.Name},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))}},
		Spec: *job.Spec.Template.Spec.DeepCopy(),
	}
	if change != nil {
		change(pod)
	}
	pod, err := c.kube.CoreV1().Pods(ns).Create(c.t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		c.t.Fatalf("create Pod of Job %s: %v", job.Name, err)
	}
	if words == "" {
		return
	}
	pod.Status.Phase = corev1.PodFailed
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: registryv1.PrunerName, Image: "p:1", State: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: words, FinishedAt: metav1.Now()},
	}}}
	if _, err := c.kube.CoreV1().Pods(ns).UpdateStatus(c.t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		c.t.Fatalf("end Pod of Job %s: %v", job.Name, err)
	}
}

// Behaviours 74, 75, 76, 77, 78: a pruner through its life.
func TestLifeOfThePruner(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
	c.waitForPruner("Scheduled=False/RegistryRemoved", "Failed=False/NotRunYet", "Degraded=False/AsExpected", "Available=True/AsExpected")
	began := time.Now().Truncate(time.Second)

	t.Run("enabling registry and pruner starts the schedule", func(t *testing.T) {
		c.t = t
		c.edit(func(config *registryv1.Config) {
			config.Spec.ManagementState = registryv1.Managed
			config.Spec.Storage = registryv1.StorageSpec{EmptyDir: &registryv1.EmptyDirStorage{}}
		})
		c.waitForPruner("Scheduled=False/Suspended")
		c.editPruner(func(spec *registryv1.ImagePrunerSpec) {
			spec.Suspend, spec.Schedule, spec.KeepTagRevisions = ptr.To(false), "15 3 * * *", ptr.To[int32](7)
		})
		c.waitForCronJob("the CronJob follows", func(spec batchv1.CronJobSpec) bool {
			return !*spec.Suspend && spec.Schedule == "15 3 * * *" && slices.Contains(spec.JobTemplate.Spec.Template.Spec.Containers[0].Args, "--keep-tag-revisions=7")
		})
		c.waitForPruner("Scheduled=True/Scheduled", "Available=True/AsExpected")
	})

	t.Run("an invalid schedule leaves the CronJob as it was", func(t *testing.T) {
		c.t = t
		before := c.cronJob()
		for _, bad := range []func(*registryv1.ImagePrunerSpec){
			func(spec *registryv1.ImagePrunerSpec) { spec.Schedule = "TZ=Asia/Shanghai 0 0 * * *" },
			func(spec *registryv1.ImagePrunerSpec) { spec.Schedule = "at night" },
			func(spec *registryv1.ImagePrunerSpec) {
				spec.Schedule, spec.TimeZone = "15 3 * * *", ptr.To("Mars/Base")
			},
		} {
			c.editPruner(bad)
			generation := c.pruner().Generation
			c.eventually("the edit is processed", func() (bool, string) { return c.pruner().Status.ObservedGeneration == generation, "" })
			c.waitForPruner("Degraded=True/InvalidSchedule", "Available=False/Error")
			if after := c.cronJob(); after.Generation != before.Generation {
				t.Errorf("the CronJob was changed: %+v", after.Spec)
			}
		}
		c.editPruner(func(spec *registryv1.ImagePrunerSpec) { spec.TimeZone = nil })
		c.waitForPruner("Degraded=False/AsExpected", "Available=True/AsExpected")
	})

	t.Run("what the schema cannot tell is refused by the API of CronJobs and told", func(t *testing.T) {
		c.t = t
		before := c.cronJob()
		c.editPruner(func(spec *registryv1.ImagePrunerSpec) {
			spec.Tolerations = []corev1.Toleration{{Key: "x", Operator: "Perhaps"}}
		})
		c.waitForPruner("Available=False/Error")
		c.eventually("the message names the field", func() (bool, string) {
			for _, condition := range c.pruner().Status.Conditions {
				if condition.Type == registryv1.ConditionPrunerAvailable {
					return strings.Contains(condition.Message, "tolerations[0]"), condition.Message
				}
			}
			return false, "no condition"
		})
		if after := c.cronJob(); after.Generation != before.Generation {
			t.Errorf("the CronJob was changed: %+v", after.Spec)
		}
		c.editPruner(func(spec *registryv1.ImagePrunerSpec) { spec.Tolerations = nil })
		c.waitForPruner("Available=True/AsExpected")
	})

	t.Run("the newest Job of the CronJob decides, and its Pod has the numbers", func(t *testing.T) {
		c.t = t
		running := c.job("prune-1", true)
		c.pod(running, prunerReport, nil)
		c.waitForPruner("Failed=False/NotRunYet", "Degraded=False/AsExpected")
		c.finish(running, batchv1.JobFailed, began)
		c.waitForPruner("Failed=True/BackoffLimitExceeded", "Degraded=True/JobFailed", "Available=True/AsExpected")
		c.eventually("the report is in the status", func() (bool, string) {
			run := c.pruner().Status.LastRun
			text, err := json.Marshal(run)
			return err == nil && run != nil && run.Result == "Failed" && run.ImagesDeleted == 4 && run.TagRevisionsDeleted == 9 && run.Failed == 1 &&
				run.CompletionTime.Time.Equal(began), string(text)
		})
		if text, err := json.Marshal(c.pruner().Status); err != nil || strings.Contains(string(text), "hunter2") {
			t.Errorf("the status repeats what a Pod said: %s, error %v", text, err)
		}
		c.eventually("Config tells of it", func() (bool, string) {
			last := c.config().Status.LastPrune
			return last != nil && last.Result == "Failed" && last.CompletionTime.Time.Equal(began), fmt.Sprint(last)
		})
		c.waitFor(registryv1.ConditionDegraded, registryv1.ConditionFalse, registryv1.ReasonAsExpected)

		foreign := c.job("of-somebody-else", false)
		c.finish(foreign, batchv1.JobComplete, began.Add(time.Hour))

		c.finish(c.job("prune-2", true), batchv1.JobComplete, began.Add(30*time.Second))
		c.waitForPruner("Failed=False/Complete", "Degraded=False/AsExpected")
		c.eventually("the new run has no numbers of the old one", func() (bool, string) {
			run := c.pruner().Status.LastRun
			return run.Result == "Succeeded" && run.PruneSummary == registryv1.PruneSummary{} && run.CompletionTime.Time.Equal(began.Add(30*time.Second)), fmt.Sprint(run)
		})
	})

	t.Run("kubectl get imagepruner shows schedule, suspension and last run", func(t *testing.T) {
		c.t = t
		raw, err := c.registry.ImageregistryV1().RESTClient().Get().Resource("imagepruners").
			SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var table metav1.Table
		if err := json.Unmarshal(raw, &table); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, column := range table.ColumnDefinitions {
			names = append(names, column.Name)
		}
		if want := []string{"Name", "Schedule", "Suspend", "Last Run", "Result", "Age"}; !slices.Equal(names, want) {
			t.Errorf("columns %q, want %q", names, want)
		}
		if cells := fmt.Sprintln(table.Rows[0].Cells...); !strings.HasPrefix(cells, "cluster 15 3 * * * false ") || !strings.Contains(cells, " Succeeded ") {
			t.Errorf("row %s", cells)
		}
	})

	t.Run("a settled pruner is left in peace", func(t *testing.T) {
		c.t = t
		c.settle()
		before := c.writes.list()
		patch := []byte(`{"metadata":{"annotations":{"example.com/seen":"yes"}}}`)
		if _, err := c.kube.BatchV1().Jobs(ns).Patch(t.Context(), "prune-2", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		c.settle()
		for _, write := range c.writes.list()[len(before):] {
			if strings.Contains(write, "cronjobs") || strings.Contains(write, "imagepruners") {
				t.Errorf("a needless write: %s", write)
			}
		}
	})

	t.Run("Removed suspends, whatever else is wrong, and stops what runs", func(t *testing.T) {
		c.t = t
		running := c.job("prune-3", true)
		c.pod(running, "", func(pod *corev1.Pod) { pod.Finalizers = []string{"example.com/hold"} })
		c.editPruner(func(spec *registryv1.ImagePrunerSpec) { spec.Schedule = "at night" })
		c.waitForPruner("Degraded=True/InvalidSchedule")
		c.edit(func(config *registryv1.Config) { config.Spec.ManagementState = registryv1.Removed })
		c.waitForCronJob("the CronJob is suspended and otherwise as it was", func(spec batchv1.CronJobSpec) bool { return *spec.Suspend && spec.Schedule == "15 3 * * *" })
		c.eventually("the Job is deleted in the foreground", func() (bool, string) {
			job, err := c.kube.BatchV1().Jobs(ns).Get(t.Context(), "prune-3", metav1.GetOptions{})
			if err != nil {
				t.Fatalf("it is gone before its Pod: %v", err)
			}
			return job.DeletionTimestamp != nil && slices.Contains(job.Finalizers, metav1.FinalizerDeleteDependents), fmt.Sprint(job.Finalizers)
		})
		for _, kept := range []string{"prune-1", "prune-2", "of-somebody-else"} {
			if job, err := c.kube.BatchV1().Jobs(ns).Get(t.Context(), kept, metav1.GetOptions{}); err != nil || job.DeletionTimestamp != nil {
				t.Errorf("Job %s, which has ended or is somebody else's: %v, error %v", kept, job.DeletionTimestamp, err)
			}
		}
		patch := []byte(`{"metadata":{"finalizers":null}}`)
		if _, err := c.kube.CoreV1().Pods(ns).Patch(t.Context(), "prune-3-x", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		c.waitForPruner("Scheduled=False/RegistryRemoved")
		if suspend := c.pruner().Spec.Suspend; suspend == nil || *suspend {
			t.Error("the user's own suspend was changed")
		}
	})

	t.Run("back in Managed the user's value counts again", func(t *testing.T) {
		c.t = t
		c.editPruner(func(spec *registryv1.ImagePrunerSpec) { spec.Schedule = "15 3 * * *" })
		c.eventually("the nodes are asked to clean up", func() (bool, string) { return c.reportCleanNodes(), summary(c.config()) })
		c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
		c.edit(func(config *registryv1.Config) { config.Spec.ManagementState = registryv1.Managed })
		c.waitForCronJob("the schedule runs again", func(spec batchv1.CronJobSpec) bool { return !*spec.Suspend })
		c.waitForPruner("Scheduled=True/Scheduled")
	})

	t.Run("a deleted ImagePruner comes back suspended, and what runs goes on", func(t *testing.T) {
		c.t = t
		running := c.job("prune-4", true)
		if err := c.registry.ImageregistryV1().ImagePruners().Delete(t.Context(), registryv1.SingletonName, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		c.waitForPruner("Scheduled=False/Suspended")
		c.waitForCronJob("the CronJob is suspended", func(spec batchv1.CronJobSpec) bool { return *spec.Suspend && spec.Schedule == "0 0 * * *" })
		job, err := c.kube.BatchV1().Jobs(ns).Get(t.Context(), running.Name, metav1.GetOptions{})
		if err != nil || job.UID != running.UID || job.DeletionTimestamp != nil {
			t.Fatalf("the running Job: %v, error %v", job, err)
		}
		c.finish(job, batchv1.JobComplete, began.Add(time.Minute))
		c.eventually("the new ImagePruner has its end", func() (bool, string) {
			run := c.pruner().Status.LastRun
			return run != nil && run.Result == "Succeeded" && run.CompletionTime.Time.Equal(began.Add(time.Minute)), fmt.Sprint(run)
		})
	})
}
