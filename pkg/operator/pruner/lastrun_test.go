package pruner

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

func podOf(owner *batchv1.Job, message string, finished time.Time) corev1.Pod {
	pod := corev1.Pod{}
	pod.OwnerReferences = []metav1.OwnerReference{{Kind: "Job", Name: owner.Name, UID: owner.UID, Controller: ptr.To(true)}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: registryv1.PrunerName, State: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{Message: message, FinishedAt: metav1.NewTime(finished)},
	}}}
	return pod
}

// The pruner's own golden file: both sides of the contract are held to the same bytes.
func TestTheReportOfThePrunerIsUnderstood(t *testing.T) {
	text, err := os.ReadFile("../../pruner/report/testdata/termination.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseReport(string(text))
	if err != nil {
		t.Fatal(err)
	}
	want := &Report{
		Summary: registryv1.PruneSummary{ImagesDeleted: 1, TagRevisionsDeleted: 1, ImageStreamsUpdated: 1, Skipped: 1, Failed: 1},
		Images:  12, ImageStreams: 3, InvalidReferences: 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

func TestHostileReportsSayNothing(t *testing.T) {
	for name, text := range map[string]string{
		"empty":              "",
		"the end of a log":   `{"level":"info","msg":"x"}` + "\n" + `{"level":"error","msg":"y"}`,
		"one line of a log":  `{"level":"error","msg":"y"}`,
		"not an object":      `[1]`,
		"null":               `null`,
		"huge":               `{"result":"Succeeded","errors":["` + strings.Repeat("x", maxReport) + `"]}`,
		"negative":           `{"result":"Succeeded","bytesReclaimed":-1}`,
		"more than a number": `{"result":"Succeeded","imagesDeleted":99999999999999999999}`,
		"a text as a number": `{"result":"Succeeded","imagesDeleted":"7"}`,
	} {
		if report, err := ParseReport(text); err == nil || report != nil {
			t.Errorf("%s: %+v", name, report)
		}
	}
}

// What a run prints may hold a secret that somebody put into a name or a URL; the status is read by everybody.
func TestTextsOfAReportReachNeitherStatusNorCondition(t *testing.T) {
	report, err := ParseReport(`{"result":"hunter2","startTime":"9999-12-31T23:59:59Z","imagesDeleted":7,"errors":["Bearer hunter2"]}`)
	if err != nil {
		t.Fatal(err)
	}
	last := job("a", now, batchv1.JobComplete)
	status := Decide(Input{Now: now, Pruner: &registryv1.ImagePruner{}, CronJob: &batchv1.CronJob{}, Jobs: []*batchv1.Job{last}, Report: report})
	want := &registryv1.PruneRunStatus{CompletionTime: ptr.To(metav1.NewTime(now)), Result: "Succeeded", PruneSummary: registryv1.PruneSummary{ImagesDeleted: 7}}
	if diff := cmp.Diff(want, status.LastRun); diff != "" {
		t.Errorf("last run (-want +got):\n%s", diff)
	}
	for _, condition := range status.Conditions {
		if strings.Contains(condition.Message, "hunter2") {
			t.Errorf("condition %s: %s", condition.Type, condition.Message)
		}
	}
}

func TestTheLastWordsAreThoseOfTheJobsOwnNewestPod(t *testing.T) {
	mine, other := job("a", now, batchv1.JobComplete), job("b", now, batchv1.JobComplete)
	mine.UID, other.UID = types.UID("1"), types.UID("2")
	said := func(n string) string { return `{"result":"Succeeded","imagesDeleted":` + n + `}` }
	running := podOf(mine, "", now)
	running.Status.ContainerStatuses[0].State = corev1.ContainerState{}
	got := LastWords(mine, []corev1.Pod{
		podOf(mine, said("2"), now), podOf(mine, said("1"), now.Add(-time.Minute)), podOf(other, said("3"), now.Add(time.Hour)), running, {},
	})
	if got == nil || got.Summary.ImagesDeleted != 2 {
		t.Errorf("report %+v, want that of the newest own Pod", got)
	}
	if got := LastWords(mine, nil); got != nil {
		t.Errorf("report %+v of no Pod", got)
	}
}

func TestLastRunOverTheLivesOfJobsAndPods(t *testing.T) {
	run := func(start, minutes int, kind batchv1.JobConditionType) *batchv1.Job {
		began := now.Add(time.Duration(start) * time.Minute)
		j := job("j", began.Add(time.Duration(minutes)*time.Minute), kind)
		j.Status.StartTime = ptr.To(metav1.NewTime(began))
		return j
	}
	seven := &Report{Summary: registryv1.PruneSummary{ImagesDeleted: 7}}
	first := lastRun(nil, run(0, 0, batchv1.JobComplete), seven)
	if first.ImagesDeleted != 7 || first.Result != "Succeeded" {
		t.Fatalf("first run: %+v", first)
	}
	if got := lastRun(first, run(0, 0, batchv1.JobComplete), nil); got.ImagesDeleted != 7 {
		t.Errorf("without its Pod the run lost its numbers: %+v", got)
	}
	if got := lastRun(first, nil, nil); got != first {
		t.Errorf("without its Job the run is forgotten: %+v", got)
	}
	// A minute later another one, which had nothing to do and failed.
	next := lastRun(first, run(0, 1, batchv1.JobFailed), nil)
	if next.ImagesDeleted != 0 || next.Result != "Failed" {
		t.Errorf("the next run carries what the last one did: %+v", next)
	}
	if got := lastRun(next, run(0, 0, batchv1.JobComplete), seven); got != next {
		t.Errorf("an older Job that is left took the place of the newer run: %+v", got)
	}
}

func TestFiguresOfTheLastRun(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	run := &registryv1.PruneRunStatus{
		StartTime: ptr.To(metav1.NewTime(now)), CompletionTime: ptr.To(metav1.NewTime(now.Add(90 * time.Second))), Result: "Failed",
		PruneSummary: registryv1.PruneSummary{ImagesDeleted: 1, TagRevisionsDeleted: 2, BytesReclaimed: 3, Skipped: 4, Failed: 5},
	}
	metrics.report(nil, registryv1.ImagePrunerStatus{LastRun: run}, &Report{Images: 6, ImageStreams: 7, InvalidReferences: 8})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.Metric {
			name := strings.TrimPrefix(family.GetName(), "image_pruner_")
			for _, label := range metric.Label {
				name += " " + label.GetValue()
			}
			if value := metric.GetGauge().GetValue(); value != 0 {
				got[name] = value
			}
		}
	}
	want := map[string]float64{
		"last_run_timestamp_seconds": float64(now.Unix() + 90), "last_run_duration_seconds": 90, "last_run_deleted images": 1,
		"last_run_deleted tagRevisions": 2, "last_run_reclaimed_bytes": 3, "last_run_skipped": 4, "last_run_failed all": 5,
		"images": 6, "imagestreams": 7, "invalid_references": 8,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("figures that are not 0 (-want +got):\n%s", diff)
	}
}

func FuzzParseReport(f *testing.F) {
	f.Add(`{"result":"Failed","imagesDeleted":1,"errors":["x"]}`)
	f.Add(`{"result":"Failed","imagesDeleted":-1}`)
	f.Add("panic: boom\n\tgoroutine 1")
	f.Fuzz(func(t *testing.T, text string) {
		report, err := ParseReport(text)
		if (report == nil) == (err == nil) {
			t.Fatalf("report %v and error %v", report, err)
		}
		if report != nil && (report.Summary.ImagesDeleted < 0 || report.Images < 0) {
			t.Errorf("negative numbers: %+v", report)
		}
	})
}
