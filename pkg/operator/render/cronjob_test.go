package render

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
)

func cronJob(t *testing.T, spec registryv1.ImagePrunerSpec, removed bool) *batchv1.CronJob {
	t.Helper()
	object, err := PruneCronJob(settings(t), &registryv1.ImagePruner{Spec: spec}, removed)
	if err != nil {
		t.Fatal(err)
	}
	job := &batchv1.CronJob{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, job); err != nil {
		t.Fatal(err)
	}
	return job
}

// Behaviours 74 and 77: every field on its own, and nothing else moves with it.
func TestEveryFieldOfImagePrunerIsRendered(t *testing.T) {
	template := func(job *batchv1.CronJob) *corev1.PodSpec { return &job.Spec.JobTemplate.Spec.Template.Spec }
	argument := func(job *batchv1.CronJob, from, to string) {
		args := template(job).Containers[0].Args
		i := slices.Index(args, from)
		if i < 0 {
			t.Fatalf("no argument %s in %q", from, args)
		}
		args[i] = to
	}
	affinity := &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{Weight: 1}}}}
	tolerations := []corev1.Toleration{{Key: "batch", Operator: corev1.TolerationOpExists}}
	resources := corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("2Gi")}}
	for name, test := range map[string]struct {
		spec   registryv1.ImagePrunerSpec
		change func(*batchv1.CronJob)
	}{
		"schedule":     {registryv1.ImagePrunerSpec{Schedule: "@daily"}, func(j *batchv1.CronJob) { j.Spec.Schedule = "@daily" }},
		"timeZone":     {registryv1.ImagePrunerSpec{TimeZone: ptr.To("Asia/Shanghai")}, func(j *batchv1.CronJob) { j.Spec.TimeZone = ptr.To("Asia/Shanghai") }},
		"suspend":      {registryv1.ImagePrunerSpec{Suspend: ptr.To(true)}, func(j *batchv1.CronJob) { j.Spec.Suspend = ptr.To(true) }},
		"no suspend":   {registryv1.ImagePrunerSpec{Suspend: ptr.To(false)}, func(*batchv1.CronJob) {}},
		"no revisions": {registryv1.ImagePrunerSpec{KeepTagRevisions: ptr.To[int32](0)}, func(j *batchv1.CronJob) { argument(j, "--keep-tag-revisions=3", "--keep-tag-revisions=0") }},
		"keepTagRevisions": {registryv1.ImagePrunerSpec{KeepTagRevisions: ptr.To[int32](5)},
			func(j *batchv1.CronJob) { argument(j, "--keep-tag-revisions=3", "--keep-tag-revisions=5") }},
		"keepYoungerThanDuration": {registryv1.ImagePrunerSpec{KeepYoungerThanDuration: &metav1.Duration{Duration: 90 * time.Minute}},
			func(j *batchv1.CronJob) { argument(j, "--keep-younger-than=1h0m0s", "--keep-younger-than=1h30m0s") }},
		"keepYoungerThan": {registryv1.ImagePrunerSpec{KeepYoungerThan: ptr.To(int64(2 * time.Hour))},
			func(j *batchv1.CronJob) { argument(j, "--keep-younger-than=1h0m0s", "--keep-younger-than=2h0m0s") }},
		"the duration wins, also when it is nothing": {
			registryv1.ImagePrunerSpec{KeepYoungerThan: ptr.To(int64(2 * time.Hour)), KeepYoungerThanDuration: &metav1.Duration{}},
			func(j *batchv1.CronJob) { argument(j, "--keep-younger-than=1h0m0s", "--keep-younger-than=0s") }},
		"resources": {registryv1.ImagePrunerSpec{Resources: &resources}, func(j *batchv1.CronJob) { template(j).Containers[0].Resources = resources }},
		"affinity":  {registryv1.ImagePrunerSpec{Affinity: affinity}, func(j *batchv1.CronJob) { template(j).Affinity = affinity }},
		"nodeSelector": {registryv1.ImagePrunerSpec{NodeSelector: map[string]string{"disk": "fast"}},
			func(j *batchv1.CronJob) {
				template(j).NodeSelector = map[string]string{"disk": "fast", "kubernetes.io/os": "linux"}
			}},
		"tolerations":                {registryv1.ImagePrunerSpec{Tolerations: tolerations}, func(j *batchv1.CronJob) { template(j).Tolerations = tolerations }},
		"successfulJobsHistoryLimit": {registryv1.ImagePrunerSpec{SuccessfulJobsHistoryLimit: ptr.To[int32](0)}, func(j *batchv1.CronJob) { j.Spec.SuccessfulJobsHistoryLimit = ptr.To[int32](0) }},
		"failedJobsHistoryLimit":     {registryv1.ImagePrunerSpec{FailedJobsHistoryLimit: ptr.To[int32](9)}, func(j *batchv1.CronJob) { j.Spec.FailedJobsHistoryLimit = ptr.To[int32](9) }},
		"startingDeadlineSeconds":    {registryv1.ImagePrunerSpec{StartingDeadlineSeconds: ptr.To[int64](10)}, func(j *batchv1.CronJob) { j.Spec.StartingDeadlineSeconds = ptr.To[int64](10) }},
		"activeDeadlineSeconds":      {registryv1.ImagePrunerSpec{ActiveDeadlineSeconds: ptr.To[int64](60)}, func(j *batchv1.CronJob) { j.Spec.JobTemplate.Spec.ActiveDeadlineSeconds = ptr.To[int64](60) }},
		"ignoreInvalidImageReferences": {registryv1.ImagePrunerSpec{IgnoreInvalidImageReferences: true},
			func(j *batchv1.CronJob) { argument(j, "--ignore-invalid-refs=false", "--ignore-invalid-refs=true") }},
		"excludedRootKinds": {registryv1.ImagePrunerSpec{ExcludedRootKinds: []string{"widgets.example.com", "tekton.dev"}},
			func(j *batchv1.CronJob) {
				template(j).Containers[0].Args = append(template(j).Containers[0].Args, "--exclude-root-kind=widgets.example.com", "--exclude-root-kind=tekton.dev")
			}},
		"pruneRegistry":     {registryv1.ImagePrunerSpec{PruneRegistry: true}, func(j *batchv1.CronJob) { argument(j, "--prune-registry=false", "--prune-registry=true") }},
		"logLevel Normal":   {registryv1.ImagePrunerSpec{LogLevel: registryv1.LogNormal}, func(*batchv1.CronJob) {}},
		"logLevel Debug":    {registryv1.ImagePrunerSpec{LogLevel: registryv1.LogDebug}, func(j *batchv1.CronJob) { argument(j, "--loglevel=1", "--loglevel=4") }},
		"logLevel Trace":    {registryv1.ImagePrunerSpec{LogLevel: registryv1.LogTrace}, func(j *batchv1.CronJob) { argument(j, "--loglevel=1", "--loglevel=6") }},
		"logLevel TraceAll": {registryv1.ImagePrunerSpec{LogLevel: registryv1.LogTraceAll}, func(j *batchv1.CronJob) { argument(j, "--loglevel=1", "--loglevel=8") }},
	} {
		t.Run(name, func(t *testing.T) {
			want := cronJob(t, registryv1.ImagePrunerSpec{}, false)
			test.change(want)
			if diff := cmp.Diff(want, cronJob(t, test.spec, false)); diff != "" {
				t.Errorf("CronJob (-want +got):\n%s", diff)
			}
		})
	}
	if job := cronJob(t, registryv1.ImagePrunerSpec{Suspend: ptr.To(false)}, true); !*job.Spec.Suspend {
		t.Error("the CronJob of a removed registry is not suspended")
	}
}

// Behaviour 75.
func TestSchedulesAndTimeZonesThatKubernetesRefusesAreNamed(t *testing.T) {
	for _, test := range []struct{ schedule, zone, want string }{
		{"* * * *", "", "spec.schedule"},
		{"61 * * * *", "", "spec.schedule"},
		{"@reboot", "", "spec.schedule"},
		{"every day", "", "spec.schedule"},
		{"TZ=UTC 0 0 * * *", "", "spec.timeZone"},
		{"CRON_TZ=Asia/Shanghai 0 0 * * *", "", "spec.timeZone"},
		{"TZ=", "", "spec.timeZone"},
		{strings.Repeat("x\u00e9", 10_000), "", "spec.schedule"},
		{"", strings.Repeat("x\u00e9", 10_000), "spec.timeZone"},
		{"", "Mars/Base", "spec.timeZone"},
		{"", "local", "spec.timeZone"},
		{"", "../etc/passwd", "spec.timeZone"},
	} {
		spec := registryv1.ImagePrunerSpec{Schedule: test.schedule}
		if test.zone != "" {
			spec.TimeZone = &test.zone
		}
		_, err := PruneCronJob(settings(t), &registryv1.ImagePruner{Spec: spec}, false)
		var permanent *fault.Permanent
		if !errors.As(err, &permanent) || permanent.Reason != registryv1.ReasonInvalidSchedule || !strings.Contains(permanent.Message, test.want) || len(permanent.Message) > 1000 {
			t.Errorf("schedule %.100q, zone %.100q: error %.1200v, want InvalidSchedule that names %s", test.schedule, test.zone, err, test.want)
		}
	}
	empty := ""
	if _, err := PruneCronJob(settings(t), &registryv1.ImagePruner{Spec: registryv1.ImagePrunerSpec{TimeZone: &empty}}, false); err == nil {
		t.Error("an empty time zone is accepted; Kubernetes refuses it")
	}
	for _, schedule := range []string{"", "@daily", "@every 6h", "*/5 1-3 * JAN SUN", "0 0 30 2 *"} {
		cronJob(t, registryv1.ImagePrunerSpec{Schedule: schedule, TimeZone: ptr.To("Etc/UTC")}, false)
	}
}
