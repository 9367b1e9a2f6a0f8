//go:build component

package importcontrollers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	imagev1 "image.alauda.io/api/image/v1"
	imagetyped "image.alauda.io/client-go/clientset/versioned/typed/image/v1"
	"image.alauda.io/registry/test/controlplane"
	"image.alauda.io/registry/test/imageapi"
	"image.alauda.io/registry/test/secondregistry"
)

var shared = controlplane.NewShared()

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

const namespace = "import-controllers"

// world is a server that imports from one second registry, with a short interval for scheduled imports.
type world struct {
	registry *secondregistry.Registry
	server   *imageapi.Server
	streams  imagetyped.ImageStreamInterface
}

func newWorld(t *testing.T) *world {
	t.Helper()
	registry := secondregistry.Start(t, secondregistry.Options{})
	config := filepath.Join(t.TempDir(), "config.yaml")
	text := fmt.Sprintf(`apiVersion: config.image.alauda.io/v1
kind: ImageAPIServerConfig
internalRegistryHostname: %s
imageImport:
  deniedCIDRs: []
  insecureRegistries: [%q]
  rateLimits: {default: {qps: 1000, burst: 1000}}
  scheduled: {minimumInterval: 500ms, maxImportsPerMinute: 6000}
`, imageapi.InternalHost, registry.Host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	server := imageapi.Start(t, shared.Get(t), "--config="+config)
	imageapi.CreateNamespace(t, server.Kube, namespace)
	return &world{registry: registry, server: server, streams: server.Images.ImageV1().ImageStreams(namespace)}
}

func (w *world) from(reference string) *corev1.ObjectReference {
	return &corev1.ObjectReference{Kind: imagev1.KindDockerImage, Name: w.registry.Host + "/" + reference}
}

func (w *world) create(t *testing.T, name string, tags ...imagev1.TagReference) {
	t.Helper()
	stream := &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: imagev1.ImageStreamSpec{Tags: tags}}
	if _, err := w.streams.Create(t.Context(), stream, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (w *world) get(t *testing.T, name string) *imagev1.ImageStream {
	t.Helper()
	stream, err := w.streams.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func (w *world) patch(t *testing.T, name, patch string) {
	t.Helper()
	if _, err := w.streams.Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// shows waits until a tag shows an image.
func (w *world) shows(t *testing.T, name, tag string, image v1.Descriptor) {
	t.Helper()
	imageapi.Eventually(t, fmt.Sprintf("%s:%s shows %s", name, tag, image.Digest), func(ctx context.Context) error {
		stream, err := w.streams.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, list := range stream.Status.Tags {
			if list.Tag != tag {
				continue
			}
			if len(list.Items) > 0 && list.Items[0].Image == image.Digest.String() {
				return nil
			}
			return fmt.Errorf("it shows %+v", list)
		}
		return fmt.Errorf("there is no such tag: %+v", stream.Status.Tags)
	})
}

// requests counts what the registry was asked for, by method and a part of the path.
func (w *world) requests(method, path string) int {
	n := 0
	for _, request := range w.registry.Requests() {
		if request.Method == method && strings.Contains(request.Path, path) {
			n++
		}
	}
	return n
}

func TestControllers(t *testing.T) {
	w := newWorld(t)
	t.Run("spec", func(t *testing.T) { testSpec(t, w) })
	t.Run("failure", func(t *testing.T) { testFailure(t, w) })
	t.Run("schedule", func(t *testing.T) { testSchedule(t, w) })
}

// Behaviour image-api 46: import on create, on a new tag and on removal of the annotation.
func testSpec(t *testing.T, w *world) {
	one := w.registry.PushImage(t, "spec/app", "v1", secondregistry.Image{Seed: "one"})
	two := w.registry.PushImage(t, "spec/app", "v2", secondregistry.Image{Seed: "two"})
	index := w.registry.PushIndex(t, "spec/app", "multi", one, two)
	reference := imagev1.TagReference{Name: "reference", From: w.from("spec/app:v2"), Reference: true}
	w.create(t, "app", imagev1.TagReference{Name: "v1", From: w.from("spec/app:v1")}, reference)
	w.shows(t, "app", "v1", one)
	image, err := w.server.Images.ImageV1().Images().Get(t.Context(), one.Digest.String(), metav1.GetOptions{})
	if err != nil || len(image.DockerImageLayers) == 0 {
		t.Errorf("the Image has %d layers (%v)", len(image.DockerImageLayers), err)
	}

	w.patch(t, "app", fmt.Sprintf(`{"spec":{"tags":[{"name":"v1","from":{"kind":"DockerImage","name":%[1]q}},
		{"name":"multi","from":{"kind":"DockerImage","name":%[2]q}}]}}`, w.registry.Host+"/spec/app:v1", w.registry.Host+"/spec/app:multi"))
	w.shows(t, "app", "multi", index)
	if n := w.requests("GET", "spec/app/manifests/v1"); n != 1 {
		t.Errorf("the tag that did not change was read %d times", n)
	}

	w.patch(t, "app", fmt.Sprintf(`{"spec":{"dockerImageRepository":%q},"metadata":{"annotations":{%q:null}}}`,
		w.registry.Host+"/spec/app", imagev1.DockerImageRepositoryCheckAnnotation))
	w.shows(t, "app", "v2", two)
	if w.get(t, "app").Annotations[imagev1.DockerImageRepositoryCheckAnnotation] == "" {
		t.Error("the time of the check was not noted")
	}
}

// Behaviour image-api 46: a permanent failure is recorded once, told once, and not repeated.
func testFailure(t *testing.T, w *world) {
	w.create(t, "absent", imagev1.TagReference{Name: "latest", From: w.from("failure/absent:latest")})
	imageapi.Eventually(t, "the failure is a condition", func(ctx context.Context) error {
		stream, err := w.streams.Get(ctx, "absent", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(stream.Status.Tags) != 1 || len(stream.Status.Tags[0].Conditions) != 1 {
			return fmt.Errorf("status is %+v", stream.Status.Tags)
		}
		return nil
	})
	condition := w.get(t, "absent").Status.Tags[0].Conditions[0]
	if condition.Reason != "NotFound" || condition.Status != corev1.ConditionFalse {
		t.Errorf("condition is %+v", condition)
	}
	imageapi.Eventually(t, "the failure is an event", func(ctx context.Context) error {
		events, err := w.server.Kube.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=absent"})
		if err != nil {
			return err
		}
		if len(events.Items) != 1 || events.Items[0].Reason != "ImportFailed" || events.Items[0].Type != corev1.EventTypeWarning {
			return fmt.Errorf("events are %+v", events.Items)
		}
		return nil
	})
	stored, asked := w.get(t, "absent").ResourceVersion, w.requests("GET", "failure/absent")
	// A change that has nothing to do with the tag lets the controller look again; the import of another
	// stream shows that it has.
	w.patch(t, "absent", `{"metadata":{"labels":{"looked":"at"}}}`)
	marker := w.registry.PushImage(t, "failure/marker", "latest", secondregistry.Image{Seed: "marker"})
	w.create(t, "marker", imagev1.TagReference{Name: "latest", From: w.from("failure/marker:latest")})
	w.shows(t, "marker", "latest", marker)
	if n := w.requests("GET", "failure/absent"); n != asked {
		t.Errorf("the registry was asked %d times after the failure was recorded", n-asked)
	}
	if again := w.get(t, "absent"); again.Status.Tags[0].Conditions[0] != condition || again.ResourceVersion == stored {
		t.Errorf("the condition is %+v, was %+v", again.Status.Tags[0].Conditions[0], condition)
	}
}

// Behaviour image-api 47: a scheduled tag follows the registry; the same digest is only asked for by HEAD and
// writes nothing.
func testSchedule(t *testing.T, w *world) {
	one := w.registry.PushImage(t, "schedule/app", "latest", secondregistry.Image{Seed: "one"})
	tag := imagev1.TagReference{Name: "latest", From: w.from("schedule/app:latest")}
	tag.ImportPolicy.Scheduled = true
	w.create(t, "scheduled", tag)
	w.shows(t, "scheduled", "latest", one)

	stored, reads := w.get(t, "scheduled").ResourceVersion, w.requests("GET", "schedule/app/manifests/latest")
	heads := w.requests("HEAD", "schedule/app/manifests/latest")
	imageapi.Eventually(t, "the tag was asked for three times", func(context.Context) error {
		if n := w.requests("HEAD", "schedule/app/manifests/latest"); n < heads+3 {
			return fmt.Errorf("HEAD came %d times", n-heads)
		}
		return nil
	})
	if again := w.get(t, "scheduled").ResourceVersion; again != stored {
		t.Errorf("the stream was written although nothing changed: resourceVersion %s, was %s", again, stored)
	}
	if n := w.requests("GET", "schedule/app/manifests/latest"); n != reads {
		t.Errorf("the manifest was read %d times although nothing changed", n-reads)
	}

	two := w.registry.PushImage(t, "schedule/app", "latest", secondregistry.Image{Seed: "two"})
	w.shows(t, "scheduled", "latest", two)

	if err := w.streams.Delete(t.Context(), "scheduled", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	// An import that is under way may end; after it nobody asks.
	quiet := time.Now()
	imageapi.Eventually(t, "nobody asks for the tag of a deleted stream", func(context.Context) error {
		requests := w.registry.Requests()
		for i := len(requests) - 1; i >= 0; i-- {
			if strings.Contains(requests[i].Path, "schedule/app") {
				if requests[i].At.After(quiet) {
					quiet = requests[i].At
				}
				break
			}
		}
		if since := time.Since(quiet); since < 3*time.Second {
			return fmt.Errorf("it was asked for %s ago", since)
		}
		return nil
	})
}
