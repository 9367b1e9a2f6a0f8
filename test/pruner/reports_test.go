//go:build component

package pruner

import (
	"bytes"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/pruner/app"
	"image.alauda.io/registry/test/imageapi"
)

// report runs a command of the pruner that only looks.
func (r *runner) report(t *testing.T, args ...string) string {
	t.Helper()
	var out, problems bytes.Buffer
	if code := app.Run(t.Context(), append(args, "--kubeconfig="+r.kubeconfig), &out, &problems); code != 0 {
		t.Fatalf("pruner %s: exit %d: %s", strings.Join(args, " "), code, problems.String())
	}
	return out.String()
}

// Behaviours 65 and 67, as a user with the role of the manifests only.
func testReports(t *testing.T, e *environment) {
	namespace := e.namespace(t)
	e.cleanUp(t, namespace)
	digests := e.stream(t, namespace, "app", 6)
	e.pod(t, namespace, "by-tag", imageapi.InternalHost+"/"+namespace+"/app:v1")
	e.pod(t, namespace, "by-digest", imageapi.InternalHost+"/"+namespace+"/app@"+digests[0])
	r := e.as(t, role)

	lines := strings.Split(r.report(t, "top", "images", "-n", namespace), "\n")
	if len(lines) != 8 || !strings.HasPrefix(lines[1], digests[5]) || !strings.Contains(lines[1], namespace+"/app (v1)") || !strings.Contains(lines[1], "Pod "+namespace+"/by-tag") {
		t.Errorf("top images printed\n%s\nwant six images, the current one with its user first", strings.Join(lines, "\n"))
	}
	streams := strings.Fields(strings.Split(r.report(t, "top", "is", "-n", namespace, "-o", "wide"), "\n")[1])
	// Six images of one layer with seven bytes each, all of them young for a prune in API server time.
	if streams[0] != namespace+"/app" || streams[2] != "1" || streams[3] != "1" || streams[4] != "6" || streams[5] != "35B" {
		t.Errorf("top imagestreams printed %v", streams)
	}
	kept := r.report(t, "explain", namespace+"/app@"+digests[0], "--keep-tag-revisions=2")
	if !strings.Contains(kept, "Pod "+namespace+"/by-digest spec.containers[0].image") {
		t.Errorf("explain printed\n%s\nwant object and field", kept)
	}
	removed := r.report(t, "explain", digests[1], "--keep-tag-revisions=2", "-o", "json")
	if !strings.Contains(removed, `"rule": "OldAndUnused"`) || !strings.Contains(removed, `"kept": false`) {
		t.Errorf("explain printed\n%s\nwant the rule that removes", removed)
	}
	if changes := r.changes(); len(changes) != 0 {
		t.Errorf("reports changed something: %v", changes)
	}
}

// Behaviour 44, with images and limits as the API stores them.
func testOverSize(t *testing.T, e *environment) {
	namespace, roomy := e.namespace(t), e.namespace(t)
	e.cleanUp(t, namespace)
	e.cleanUp(t, roomy)
	large := e.stream(t, namespace, "large", 3)
	used := e.stream(t, namespace, "used", 1)
	elsewhere := e.stream(t, roomy, "large", 1)
	e.pod(t, roomy, "user", imageapi.InternalHost+"/"+namespace+"/used:v1")
	for name, greatest := range map[string]string{namespace: "6", roomy: "7"} {
		limits := &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: "images"}, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{
			{Type: imagev1.LimitTypeImage, Max: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(greatest)}},
		}}}
		if _, err := e.Kube.CoreV1().LimitRanges(name).Create(t.Context(), limits, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	r := e.as(t, role)
	var out, problems bytes.Buffer
	code := app.Run(t.Context(), []string{"images", "--kubeconfig=" + r.kubeconfig, "--prune-over-size-limit", "--confirm"}, &out, &problems)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, problems.String())
	}
	if revisions, images := e.left(t, namespace, "large", large); revisions != "" || images != "" {
		t.Errorf("of what exceeds, revisions %q and images %q are left", revisions, images)
	}
	if revisions, images := e.left(t, namespace, "used", used); revisions != "a" || images != "a" {
		t.Errorf("of the used tag, revisions %q and images %q are left, want it kept", revisions, images)
	}
	if revisions, images := e.left(t, roomy, "large", elsewhere); revisions != "a" || images != "a" {
		t.Errorf("within the limit, revisions %q and images %q are left, want it kept", revisions, images)
	}
}
