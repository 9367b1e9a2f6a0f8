package app

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/pruner/options"
)

func user(image string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "user"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: image}}}}
}

// Behaviour 67.
func TestExplainNamesObjectAndField(t *testing.T) {
	f := newFixture(t, func(*options.Options) {}, user("h.x/ns/app@"+id("c")))
	if err := f.explain(t.Context(), "ns/app@"+id("c"), "text"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Image " + id("c") + " stays", "ns/app:v1, revision 2, 100d old: stays", `Pod x/user spec.containers[0].image: "h.x/ns/app@` + id("c")} {
		if !strings.Contains(f.out.String(), want) {
			t.Errorf("no %q in\n%s", want, f.out.String())
		}
	}
	if len(f.changes()) != 0 {
		t.Errorf("changes %v", f.changes())
	}
	err := f.explain(t.Context(), "ns/other:v1", "text")
	if exitCode(t.Context(), err) != exitFailed || !strings.Contains(err.Error(), "no ImageStream ns/other") {
		t.Errorf("an unknown stream: %v", err)
	}
}

// Behaviour 67.
func TestExplainAsksAboutTheRunThatTheFlagsMean(t *testing.T) {
	f := newFixture(t, func(o *options.Options) { o.KeepTagRevisions = 1 })
	if err := f.explain(t.Context(), id("b"), "json"); err != nil {
		t.Fatal(err)
	}
	var answer struct{ Kept bool }
	if err := json.Unmarshal(f.out.Bytes(), &answer); err != nil || answer.Kept {
		t.Errorf("with one revision to keep: %v\n%s", err, f.out.String())
	}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	opts := options.Defaults()
	opts.AddFlags(flags)
	if err := flags.Parse([]string{"--keep-younger-than=5m"}); err != nil {
		t.Fatal(err)
	}
	f.KeepYoungerThan = 5 * time.Minute
	pruner := &imageregistryv1.ImagePruner{ObjectMeta: metav1.ObjectMeta{Name: "cluster"}}
	pruner.Spec.KeepTagRevisions, pruner.Spec.IgnoreInvalidImageReferences = ptr.To[int32](7), true
	pruner.Spec.KeepYoungerThanDuration = &metav1.Duration{Duration: 72 * time.Hour}
	if err := f.image.Tracker().Add(pruner); err != nil {
		t.Fatal(err)
	}
	if err := f.followImagePruner(t.Context(), flags.Changed); err != nil {
		t.Fatal(err)
	}
	if f.KeepTagRevisions != 7 || f.KeepYoungerThan != 5*time.Minute || !f.IgnoreInvalidRefs {
		t.Errorf("settings %+v, want those of the ImagePruner except what was given", f.Options)
	}
	f.image.PrependReactor("get", "imagepruners", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(imageregistryv1.Resource("imagepruners"), "cluster", nil)
	})
	if err := f.followImagePruner(t.Context(), flags.Changed); exitCode(t.Context(), err) != exitFailed || !strings.Contains(err.Error(), "--image-pruner") {
		t.Errorf("ImagePruner unreadable: %v", err)
	}
}

// A run would stop at an invalid reference; a report about it says so and answers all the same.
func TestReportsTellOfInvalidReferences(t *testing.T) {
	f := newFixture(t, func(*options.Options) {}, user("h.x/ns/app :v1"))
	if err := f.explain(t.Context(), id("e"), "text"); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(f.errors.String(), "x/user") || !strings.Contains(f.errors.String(), "--ignore-invalid-refs") {
		t.Errorf("stderr %q", f.errors.String())
	}
}

// Behaviour 65.
func TestTopReadsUsageAsPruningDoes(t *testing.T) {
	f := newFixture(t, func(*options.Options) {}, user("h.x/ns/app:v1"))
	if err := f.topImages(t.Context(), "", "text"); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(f.out.String(), "\n")
	if !strings.HasPrefix(lines[0], "NAME") || !strings.HasPrefix(lines[1], id("a")) || !strings.Contains(lines[1], "ns/app (v1)") || !strings.Contains(lines[1], "Pod x/user") {
		t.Errorf("printed\n%s\nwant the current image of the used tag first", f.out.String())
	}
	f.out.Reset()
	if err := f.topStreams(t.Context(), "", "wide"); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(f.out.String(), "RECLAIMABLE") || !strings.Contains(f.out.String(), "ns/app") {
		t.Errorf("printed\n%s", f.out.String())
	}
	if len(f.changes()) != 0 {
		t.Errorf("changes %v", f.changes())
	}
	f.kube.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(corev1.Resource("pods"), "", nil)
	})
	if err := f.topImages(t.Context(), "", "text"); exitCode(t.Context(), err) != exitReferences {
		t.Errorf("without the right to list Pods: %v, want exit 3", err)
	}
}

// Behaviour 3.
func TestMistakesInReports(t *testing.T) {
	for line, want := range map[string]string{
		"explain":                    "accepts 1 arg",
		"explain a b":                "accepts 1 arg",
		"explain nonsense":           "neither a digest",
		"explain ns/app:v1 -o jsonl": "--output",
		"explain ns/app:v1 --keep-tag-revisions=-1": "--keep-tag-revisions",
		"explain ns/app:v1 --kubeconfig=/none":      "--kubeconfig",
		"top images extra":                          "unknown command",
		"top images -o jsonl":                       "--output",
		"top is --chunk-size=0":                     "--chunk-size",
		"top images --confirm":                      "--confirm",
		"top nonsense":                              "unknown command",
	} {
		var out, errs bytes.Buffer
		if code := Run(context.Background(), strings.Fields(line), &out, &errs); code != exitUsage || !strings.Contains(errs.String(), want) {
			t.Errorf("pruner %s: exit %d, %q, want 2 and %q", line, code, errs.String(), want)
		}
	}
	var out, errs bytes.Buffer
	if code := Run(context.Background(), []string{"explain", "--help"}, &out, &errs); code != 0 || strings.Contains(out.String(), "--confirm ") || !strings.Contains(out.String(), "--keep-tag-revisions") {
		t.Errorf("help of explain: exit %d\n%s", code, out.String())
	}
}
