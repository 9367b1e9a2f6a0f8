//go:build component

package imagetriggers

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/test/imageapi"
)

var resolveAll = map[string]string{imagev1.ResolveNamesAnnotation: imagev1.ResolveNamesAll}

// Behaviour image-api 50: each kind, names with and without tag, streams without local policy, the annotation, a
// missing tag, updates, Jobs, and no server at all.
func TestShortNamesAreResolved(t *testing.T) {
	port := freePort(t)
	server := imageapi.Start(t, shared.Get(t), fmt.Sprintf("--webhook-port=%d", port))
	f := newFixture(t, server)
	f.newStream(f.namespace, "app", true)
	f.newStream(f.namespace, "closed", false)
	latest := f.push(f.namespace, "app", "latest", f.namespace+" latest")
	v1 := f.push(f.namespace, "app", "v1", f.namespace+" v1")
	closed := f.push(f.namespace, "closed", "v1", f.namespace+" closed")
	registerWebhook(t, server, port)
	f.awaitWebhook(v1)

	missing := imageapi.InternalHost + "/" + f.namespace + "/app:v9"
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			f.t = t
			given := []string{"app", "app:v1", "app:v9", "closed:v1", "busybox", "example.com/closed:v1"}
			created := f.create(k, k.workload("plain", nil, given...))
			if got, want := k.images(created), []string{latest, v1, missing, "closed:v1", "busybox", "example.com/closed:v1"}; !slices.Equal(got, want) {
				t.Errorf("images %q, want %q", got, want)
			}
			created = f.create(k, k.workload("annotated", resolveAll, "example.com/closed:v1", "example.com/closed:v9"))
			if got, want := k.images(created), []string{closed, "example.com/closed:v9"}; !slices.Equal(got, want) {
				t.Errorf("annotated: images %q, want %q", got, want)
			}
			owned := k.workload("owned", nil, "app:v1")
			owned.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "x", Controller: ptr.To(true)}})
			if got := k.images(f.create(k, owned)); got[0] != "app:v1" {
				t.Errorf("of a controller: images %q", got)
			}
		})
	}
	t.Run("updates", func(t *testing.T) { f.t = t; f.updates(latest, v1, closed) })
	t.Run("ephemeral containers", func(t *testing.T) { f.t = t; f.ephemeral(v1) })
	t.Run("warning", func(t *testing.T) { f.t = t; f.warned() })
	t.Run("other namespaces", func(t *testing.T) {
		f.t = t
		other := newFixture(t, server)
		if got := kindNamed("Pod").images(other.create(kindNamed("Pod"), kindNamed("Pod").workload("p", nil, "app:v1"))); got[0] != "app:v1" {
			t.Errorf("images %q: the stream is in another namespace", got)
		}
	})
	t.Run("no server", func(t *testing.T) {
		f.t = t
		server.Stop()
		k := kindNamed("Pod")
		if got := k.images(f.create(k, k.workload("alone", nil, "app:v1"))); got[0] != "app:v1" {
			t.Errorf("images %q", got)
		}
	})
}

// awaitWebhook waits until kube-apiserver has read the configuration, for each of its three webhooks.
func (f *fixture) awaitWebhook(want string) {
	f.t.Helper()
	for _, k := range []kind{kindNamed("Pod"), kindNamed("Deployment"), kindNamed("CronJob")} {
		imageapi.Eventually(f.t, k.name+"s are resolved", func(ctx context.Context) error {
			created, err := f.client(k).Create(ctx, k.workload("probe", nil, "app:v1"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if err != nil {
				return err
			}
			if got := k.images(created); got[0] != want {
				return fmt.Errorf("images %q, want %s", got, want)
			}
			return nil
		})
	}
}

func (f *fixture) updates(latest, v1, closed string) {
	t, k := f.t, kindNamed("Deployment")
	// What was there before the webhook stays until somebody changes it.
	owned := k.workload("updated", nil, "app:v1", "app:v1")
	owned.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "x", Controller: ptr.To(true)}})
	f.create(k, owned)
	unowned := f.change(k, "updated", func(object *unstructured.Unstructured) { object.SetOwnerReferences(nil) })
	if got, want := k.images(unowned), []string{"app:v1", "app:v1"}; !slices.Equal(got, want) {
		t.Errorf("no image changed: %q, want %q", got, want)
	}
	if got, want := k.images(f.change(k, "updated", setImages(k, "app:v1", "app"))), []string{"app:v1", latest}; !slices.Equal(got, want) {
		t.Errorf("one image changed: %q, want %q", got, want)
	}
	annotate := func(object *unstructured.Unstructured) { object.SetAnnotations(resolveAll) }
	if got, want := k.images(f.change(k, "updated", annotate)), []string{v1, latest}; !slices.Equal(got, want) {
		t.Errorf("annotation added: %q, want %q", got, want)
	}
	if got, want := k.images(f.change(k, "updated", setImages(k, v1, "example.com/closed:v1"))), []string{v1, closed}; !slices.Equal(got, want) {
		t.Errorf("annotated, one image changed: %q, want %q", got, want)
	}
	job := kindNamed("Job")
	updated := f.change(job, "plain", annotate)
	if got := job.images(updated); got[3] != "closed:v1" {
		t.Errorf("the template of a Job was changed: %q", got)
	}
}

func (f *fixture) ephemeral(want string) {
	t, pods := f.t, f.Kube.CoreV1().Pods(f.namespace)
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"ephemeralContainers": []corev1.EphemeralContainer{
		{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "app:v1"}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	pod, err := pods.Patch(t.Context(), "plain", types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "ephemeralcontainers")
	if err != nil {
		t.Fatal(err)
	}
	if got := pod.Spec.EphemeralContainers[0].Image; got != want {
		t.Errorf("image %q, want %q", got, want)
	}
}

// warnings collects what the API server warns about.
type warnings struct {
	mu   sync.Mutex
	text []string
}

func (w *warnings) HandleWarningHeader(_ int, _ string, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, text)
}

func (f *fixture) warned() {
	t, seen := f.t, &warnings{}
	config := rest.CopyConfig(f.CP.Config)
	config.WarningHandler = seen
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "warned"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "app:v9"}}}}
	if _, err := kubernetes.NewForConfigOrDie(config).CoreV1().Pods(f.namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(seen.text, func(text string) bool { return strings.Contains(text, "app:v9 has no image yet") }) {
		t.Errorf("warnings %q", seen.text)
	}
}
