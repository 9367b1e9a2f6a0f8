package render

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // the operator's image has no files of time zones

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/manifests"
	"image.alauda.io/registry/pkg/operator/fault"
)

// PrunerAccess returns the ServiceAccount, role and binding of the pruner.
func PrunerAccess(s Settings) ([]*unstructured.Unstructured, error) {
	return s.several(manifests.ImagePruner, "rbac.yaml")
}

// CheckSchedule parses a schedule with the parser that Kubernetes uses. A time zone belongs into
// spec.timeZone.
func CheckSchedule(schedule string) error {
	if strings.Contains(schedule, "TZ") {
		return fault.Permanentf(registryv1.ReasonInvalidSchedule,
			"spec.schedule of ImagePruner cluster holds a time zone; write that into spec.timeZone")
	}
	if _, err := cron.ParseStandard(schedule); err != nil {
		return fault.Permanentf(registryv1.ReasonInvalidSchedule,
			"spec.schedule of ImagePruner cluster: %s; write five fields of cron, as 0 0 * * *", strings.ToValidUTF8(fmt.Sprintf("%.300s", err.Error()), "?"))
	}
	return nil
}

// NeverComes says whether a schedule names only days that no month has, as the 30th of February. Kubernetes takes it,
// and some write it in place of suspending.
func NeverComes(schedule string) bool {
	times, err := cron.ParseStandard(or(schedule, registryv1.DefaultPruneSchedule))
	// The search covers some years; begun with a leap year it finds the last day of February, too.
	return err == nil && times.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero()
}

// checkTimeZone accepts what Kubernetes accepts: a name of the time zone database.
func checkTimeZone(name *string) error {
	if name == nil {
		return nil
	}
	_, err := time.LoadLocation(*name)
	if *name == "" || strings.EqualFold(*name, "Local") || err != nil {
		return fault.Permanentf(registryv1.ReasonInvalidSchedule,
			"spec.timeZone of ImagePruner cluster: %.100q is no time zone; write a name as Europe/Berlin, or leave the field out", *name)
	}
	return nil
}

// PruneCronJob is the whole CronJob image-pruner. Suspend is forced while the registry is removed.
func PruneCronJob(s Settings, pruner *registryv1.ImagePruner, registryRemoved bool) (*unstructured.Unstructured, error) {
	spec := pruner.Spec
	schedule := or(spec.Schedule, registryv1.DefaultPruneSchedule)
	if err := CheckSchedule(schedule); err != nil {
		return nil, err
	}
	if err := checkTimeZone(spec.TimeZone); err != nil {
		return nil, err
	}
	if err := checkPruner(spec); err != nil {
		return nil, err
	}
	job, err := typed[batchv1.CronJob](s, manifests.ImagePruner, "cronjob.yaml")
	if err != nil {
		return nil, err
	}
	job.Spec.Schedule = schedule
	job.Spec.TimeZone = spec.TimeZone
	job.Spec.Suspend = ptr.To(registryRemoved || ptr.Deref(spec.Suspend, false))
	job.Spec.StartingDeadlineSeconds = ptr.To(ptr.Deref(spec.StartingDeadlineSeconds, registryv1.DefaultStartingDeadline))
	job.Spec.SuccessfulJobsHistoryLimit = ptr.To(ptr.Deref(spec.SuccessfulJobsHistoryLimit, registryv1.DefaultJobsHistoryLimit))
	job.Spec.FailedJobsHistoryLimit = ptr.To(ptr.Deref(spec.FailedJobsHistoryLimit, registryv1.DefaultJobsHistoryLimit))
	job.Spec.JobTemplate.Spec.ActiveDeadlineSeconds = spec.ActiveDeadlineSeconds

	template := &job.Spec.JobTemplate.Spec.Template
	setLabels(template.Labels)
	pod := &template.Spec
	pod.PriorityClassName = s.PriorityClass
	pod.NodeSelector = linux(spec.NodeSelector)
	pod.Tolerations = spec.Tolerations
	pod.Affinity = spec.Affinity
	container := &pod.Containers[0]
	container.Image = s.Images.Pruner
	container.Args = pruneArguments(s, spec)
	if spec.Resources != nil {
		container.Resources = *spec.Resources
	}
	return untyped(job)
}

func setLabels(labels map[string]string) {
	labels[registryv1.LabelPartOf] = registryv1.PartOf
	labels[registryv1.LabelManagedBy] = registryv1.OperatorName
}

func pruneArguments(s Settings, spec registryv1.ImagePrunerSpec) []string {
	arguments := []string{
		"images",
		"--confirm=true",
		"--certificate-authority=/var/run/configmaps/serviceca/service-ca.crt",
		"--keep-tag-revisions=" + strconv.Itoa(int(ptr.Deref(spec.KeepTagRevisions, registryv1.DefaultKeepTagRevisions))),
		"--keep-younger-than=" + keepYoungerThan(spec).String(),
		"--ignore-invalid-refs=" + strconv.FormatBool(spec.IgnoreInvalidImageReferences),
		"--prune-registry=" + strconv.FormatBool(spec.PruneRegistry),
		"--registry-url=https://" + s.InternalHost(),
		"--loglevel=" + strconv.Itoa(prunerVerbosity(spec.LogLevel)),
		"--retries=5",
	}
	for _, kind := range spec.ExcludedRootKinds {
		arguments = append(arguments, "--exclude-root-kind="+kind)
	}
	return arguments
}

func keepYoungerThan(spec registryv1.ImagePrunerSpec) time.Duration {
	switch {
	case spec.KeepYoungerThanDuration != nil:
		return spec.KeepYoungerThanDuration.Duration
	case spec.KeepYoungerThan != nil:
		return time.Duration(*spec.KeepYoungerThan)
	default:
		return time.Hour
	}
}

func prunerVerbosity(level registryv1.LogLevel) int {
	if verbosity := Verbosity(level); verbosity > 2 {
		return verbosity
	}
	return 1
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
