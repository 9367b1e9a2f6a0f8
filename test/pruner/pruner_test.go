//go:build component

package pruner

import (
	"context"
	"net/http"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"image.alauda.io/registry/test/imageapi"
)

func TestPruner(t *testing.T) {
	e := start(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *environment)
	}{
		{"run", testRun},
		{"conflict", testConflict},
		{"taken up again", testTakenUpAgain},
		{"invalid reference", testInvalidReference},
		{"termination", testTermination},
		{"two runs", testTwoRuns},
		{"namespace", testNamespace},
		{"no permission", testNoPermission},
		{"reports", testReports},
		{"over-size", testOverSize},
		{"role", testRole},
		{"custom roots", testCustomRoots},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, e) })
	}
}

// outcomes are the lines of a report without the word that tells a plan from a deed, and without ages.
func outcomes(stdout string) []string {
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	for i, line := range lines {
		line = strings.NewReplacer("would-delete", "deleted", "would delete", "deleted", "would update", "updated").Replace(line)
		lines[i] = regexp.MustCompile(`age=\S+`).ReplaceAllString(line, "age")
	}
	return lines
}

// Behaviours 1, 6, 7, 11 and 37, as a user with the role of the manifests only.
func testRun(t *testing.T, e *environment) {
	namespace := e.namespace(t)
	e.cleanUp(t, namespace)
	digests := e.stream(t, namespace, "app", 6)
	other := e.stream(t, namespace, "other", 4)
	repository := imageapi.InternalHost + "/" + namespace + "/app"
	// The oldest revision runs by digest, the second oldest is what a Deployment in another form names.
	e.pod(t, namespace, "by-digest", repository+"@"+digests[0])
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "by-digest"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "x"}},
				Spec: corev1.PodSpec{Containers: []corev1.Container{
					{Name: "old", Image: "mirror.example.test/" + namespace + "/app:any@" + digests[1]},
					{Name: "tag", Image: imageapi.InternalHost + "/" + namespace + "/other:v1"},
				}},
			},
		},
	}
	if _, err := e.Kube.AppsV1().Deployments(namespace).Create(t.Context(), deployment, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	pruner := e.as(t, role)
	code, planned, stderr := pruner.run(t.Context())
	if code != 0 || len(pruner.changes()) != 0 || !strings.HasPrefix(stderr, "Dry run") {
		t.Fatalf("dry run: exit %d, changes %v, stderr %s", code, pruner.changes(), stderr)
	}
	code, done, stderr := pruner.run(t.Context(), "--confirm")
	if code != 0 {
		t.Fatalf("exit %d: %s%s", code, done, stderr)
	}
	if !slices.Equal(outcomes(planned), outcomes(done)) {
		t.Errorf("planned\n%s\ndone\n%s", planned, done)
	}
	if !strings.HasSuffix(done, "Summary: deleted 4 images, 4 tag revisions, updated 2 image streams\n") {
		t.Errorf("printed\n%s", done)
	}
	if revisions, images := e.left(t, namespace, "app", digests); revisions != "abef" || images != "abef" {
		t.Errorf("left in app: revisions %q, images %q; want abef: two in use, two newest", revisions, images)
	}
	if revisions, images := e.left(t, namespace, "other", other); revisions != "cd" || images != "cd" {
		t.Errorf("left in other: revisions %q, images %q; want cd", revisions, images)
	}

	before := len(pruner.changes())
	code, again, stderr := pruner.run(t.Context(), "--confirm")
	if code != 0 || again != "Summary: nothing to prune\n" || len(pruner.changes()) != before {
		t.Errorf("second run: exit %d, changes %v\n%s%s", code, pruner.changes()[before:], again, stderr)
	}
	// With no history wanted at all, what is in use stays.
	code, _, stderr = pruner.run(t.Context(), "--confirm", "--keep-tag-revisions=0")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	if revisions, _ := e.left(t, namespace, "app", digests); revisions != "ab" {
		t.Errorf("left in app: %q, want ab: those in use by digest", revisions)
	}
	if revisions, _ := e.left(t, namespace, "other", other); revisions != "d" {
		t.Errorf("left in other: %q, want d: the tag in use", revisions)
	}
}

// Behaviour 29: a push between the reading and the writing of a stream.
func testConflict(t *testing.T, e *environment) {
	namespace := e.namespace(t)
	e.cleanUp(t, namespace)
	digests := e.stream(t, namespace, "app", 4)
	pruner := e.as(t, role)
	var once sync.Once
	pruner.before = func(request *http.Request) {
		if request.Method == http.MethodPut && strings.HasSuffix(request.URL.Path, "/imagestreams/app/status") {
			once.Do(func() { digests = append(digests, e.push(t, namespace, "app", "v1", "pushed meanwhile")) })
		}
	}
	code, stdout, stderr := pruner.run(t.Context(), "--confirm")
	if code != 0 {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	puts := slices.DeleteFunc(pruner.changes(), func(request string) bool { return !strings.HasPrefix(request, "PUT ") })
	if len(puts) != 2 {
		t.Errorf("%d updates, want one refused and one repeated: %v", len(puts), puts)
	}
	// The decision was repeated: c, which was among the newest two before, is the third now.
	if revisions, images := e.left(t, namespace, "app", digests); revisions != "de" || images != "de" {
		t.Errorf("left: revisions %q, images %q; want de, e being what was pushed meanwhile", revisions, images)
	}
}

// Behaviour 39: an image that somebody takes up again after the snapshot is not deleted.
func testTakenUpAgain(t *testing.T, e *environment) {
	namespace := e.namespace(t)
	e.cleanUp(t, namespace)
	digests := e.stream(t, namespace, "app", 4)
	pruner := e.as(t, role)
	var once sync.Once
	pruner.before = func(request *http.Request) {
		if request.Method == http.MethodDelete && strings.HasSuffix(request.URL.Path, digests[0]) {
			once.Do(func() {
				stamp := []byte(`{"metadata":{"annotations":{"image.alauda.io/lastReferencedTime":"2030-01-02T03:04:05Z"}}}`)
				_, err := e.Images.ImageV1().Images().Patch(t.Context(), digests[0], types.MergePatchType, stamp, metav1.PatchOptions{})
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	code, stdout, stderr := pruner.run(t.Context(), "--confirm")
	if code != 0 || !strings.Contains(stdout, "skipped\timage\t"+digests[0]) {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	if revisions, images := e.left(t, namespace, "app", digests); revisions != "cd" || images != "acd" {
		t.Errorf("left: revisions %q, images %q; want cd and acd", revisions, images)
	}
}

// Behaviour 19.
func testInvalidReference(t *testing.T, e *environment) {
	namespace := e.namespace(t)
	e.cleanUp(t, namespace)
	digests := e.stream(t, namespace, "app", 4)
	e.pod(t, namespace, "typo", "registry.example.test/"+namespace+"/app: v1")
	pruner := e.as(t, role)
	code, stdout, stderr := pruner.run(t.Context(), "--confirm")
	if code != 3 || len(pruner.changes()) != 0 || !strings.Contains(stderr, "Pod "+namespace+"/typo spec.containers[0].image") {
		t.Errorf("exit %d, changes %v\n%s%s", code, pruner.changes(), stdout, stderr)
	}
	code, stdout, stderr = pruner.run(t.Context(), "--confirm", "--ignore-invalid-refs")
	if code != 0 || !strings.Contains(stderr, "typo") {
		t.Errorf("ignoring: exit %d\n%s%s", code, stdout, stderr)
	}
	if revisions, images := e.left(t, namespace, "app", digests); revisions != "abcd" || images != "abcd" {
		t.Errorf("left: revisions %q, images %q; want the mentioned stream whole", revisions, images)
	}
}

// Behaviour 9: a real SIGTERM while images are deleted. The requests in flight end, no further one begins.
func testTermination(t *testing.T, e *environment) {
	namespace := e.namespace(t)
	e.cleanUp(t, namespace)
	digests := e.stream(t, namespace, "app", 6)
	pruner := e.as(t, role)
	ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGTERM)
	defer stop()
	var once sync.Once
	pruner.before = func(request *http.Request) {
		if request.Method != http.MethodDelete {
			return
		}
		once.Do(func() {
			if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			<-ctx.Done()
		})
	}
	code, stdout, stderr := pruner.run(ctx, "--confirm", "--num-workers=1")
	if code != 143 || !strings.Contains(stdout, "Summary: deleted 1 images, 4 tag revisions") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	if revisions, images := e.left(t, namespace, "app", digests); revisions != "ef" || len(images) != 5 {
		t.Errorf("left: revisions %q, images %q; want ef and five images", revisions, images)
	}
	pruner.before = func(*http.Request) {}
	code, _, stderr = pruner.run(t.Context(), "--confirm")
	if _, images := e.left(t, namespace, "app", digests); code != 0 || images != "ef" {
		t.Errorf("the next run: exit %d, images %q left, want ef\n%s", code, images, stderr)
	}
}

// Behaviour 63.
func testTwoRuns(t *testing.T, e *environment) {
	namespace := e.namespace(t)
	e.cleanUp(t, namespace)
	digests := e.stream(t, namespace, "app", 8)
	pruner := e.as(t, role)
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			if code, stdout, stderr := pruner.run(context.Background(), "--confirm"); code != 0 {
				t.Errorf("exit %d\n%s%s", code, stdout, stderr)
			}
		})
	}
	group.Wait()
	if revisions, images := e.left(t, namespace, "app", digests); revisions != "gh" || images != "gh" {
		t.Errorf("left: revisions %q, images %q; want gh", revisions, images)
	}
}

// Behaviour 43: users in other namespaces count.
func testNamespace(t *testing.T, e *environment) {
	namespace, elsewhere := e.namespace(t), e.namespace(t)+"-elsewhere"
	imageapi.CreateNamespace(t, e.Kube, elsewhere)
	e.cleanUp(t, namespace)
	e.cleanUp(t, elsewhere)
	digests := e.stream(t, namespace, "app", 4)
	others := e.stream(t, elsewhere, "app", 4)
	e.pod(t, elsewhere, "user", imageapi.InternalHost+"/"+namespace+"/app@"+digests[0])
	pruner := e.as(t, role)
	code, stdout, stderr := pruner.run(t.Context(), "--confirm", "--namespace="+namespace)
	if code != 0 {
		t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
	}
	if revisions, images := e.left(t, namespace, "app", digests); revisions != "acd" || images != "abcd" {
		t.Errorf("left: revisions %q, images %q; want acd and all images", revisions, images)
	}
	if revisions, _ := e.left(t, elsewhere, "app", others); revisions != "abcd" {
		t.Errorf("left elsewhere: %q, want all", revisions)
	}
}
