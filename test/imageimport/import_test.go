//go:build component

package imageimport

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/test/controlplane"
	"image.alauda.io/registry/test/imageapi"
	"image.alauda.io/registry/test/secondregistry"
)

var shared = controlplane.NewShared()

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

const namespace = "imports"

// world is a server that may import from two registries on loopback: one for everybody, and one with TLS
// whose readers log in.
type world struct {
	server       *imageapi.Server
	open, closed *secondregistry.Registry
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		open:   secondregistry.Start(t, secondregistry.Options{}),
		closed: secondregistry.Start(t, secondregistry.Options{TLS: true, Tokens: true, Users: map[string]string{"reader": "pass"}}),
	}
	config := filepath.Join(t.TempDir(), "config.yaml")
	text := fmt.Sprintf(`apiVersion: config.image.alauda.io/v1
kind: ImageAPIServerConfig
internalRegistryHostname: %s
imageImport:
  allowedHosts: [%q, %q]
  rateLimits: {default: {qps: 1000, burst: 1000}}
`, imageapi.InternalHost, w.open.Host, w.closed.Host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	authorities := t.TempDir()
	file := strings.Replace(w.closed.Host, ":", "..", 1)
	if err := os.WriteFile(filepath.Join(authorities, file), w.closed.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	w.server = imageapi.Start(t, shared.Get(t), "--config="+config, "--import-ca-dir="+authorities)
	imageapi.CreateNamespace(t, w.server.Kube, namespace)
	return w
}

// send posts a request as it stands in the documentation.
func (w *world) send(t *testing.T, text string) *imagev1.ImageStreamImport {
	t.Helper()
	request := &imagev1.ImageStreamImport{}
	if err := json.Unmarshal([]byte(text), request); err != nil {
		t.Fatal(err)
	}
	answer, err := w.server.Images.ImageV1().ImageStreamImports(namespace).Create(t.Context(), request, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return answer
}

func (w *world) stream(t *testing.T, name string) *imagev1.ImageStream {
	t.Helper()
	stream, err := w.server.Images.ImageV1().ImageStreams(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func image(stream, from, to string, record, insecure bool) string {
	target := ""
	if to != "" {
		target = fmt.Sprintf(`, "to": {"name": %q}`, to)
	}
	return fmt.Sprintf(`{"metadata": {"name": %q}, "spec": {"import": %t, "images": [
		{"from": {"kind": "DockerImage", "name": %q}, "importPolicy": {"insecure": %t}%s}]}}`, stream, record, from, insecure, target)
}

func TestImports(t *testing.T) {
	w := newWorld(t)
	for name, test := range map[string]func(*testing.T, *world){
		"multi-arch by tag and by digest": testMultiArch,
		"preview":                         testPreview,
		"whole repository":                testRepository,
		"credentials of the namespace":    testCredentials,
	} {
		t.Run(name, func(t *testing.T) { test(t, w) })
	}
}

// Behaviour 35.
func testMultiArch(t *testing.T, w *world) {
	amd64 := w.open.PushImage(t, "org/multi", "", secondregistry.Image{Seed: "multi"})
	arm64 := w.open.PushImage(t, "org/multi", "", secondregistry.Image{Seed: "multi", Platform: v1.Platform{OS: "linux", Architecture: "arm64"}})
	index := w.open.PushIndex(t, "org/multi", "v1", amd64, arm64)
	repository := w.open.Host + "/org/multi"

	answer := w.send(t, image("multi", repository+":v1", "", true, true))
	if got := answer.Status.Images[0]; got.Status.Status != metav1.StatusSuccess || got.Image == nil || len(got.Manifests) != 2 {
		t.Fatalf("by tag: %+v", got.Status)
	}
	w.send(t, image("multi", repository+"@"+index.Digest.String(), "pinned", true, true))
	stream := w.stream(t, "multi")
	if len(stream.Status.Tags) != 2 {
		t.Fatalf("tags are %+v", stream.Status.Tags)
	}
	for _, tag := range stream.Status.Tags {
		if event := tag.Items[0]; event.Image != index.Digest.String() || event.DockerImageReference != repository+"@"+index.Digest.String() {
			t.Errorf("%s shows %+v", tag.Tag, event)
		}
	}
	for _, child := range []v1.Descriptor{amd64, arm64} {
		stored, err := w.server.Images.ImageV1().Images().Get(t.Context(), child.Digest.String(), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if stored.DockerImageReference != repository+"@"+child.Digest.String() || len(stored.DockerImageLayers) == 0 || stored.DockerImageManifest != "" {
			t.Errorf("child is %+v", stored)
		}
	}
}

// Behaviour 35.
func testPreview(t *testing.T, w *world) {
	pushed := w.open.PushImage(t, "org/preview", "v1", secondregistry.Image{Seed: "preview"})
	answer := w.send(t, image("preview", w.open.Host+"/org/preview:v1", "", false, true))
	if got := answer.Status.Images[0].Image; got == nil || got.Name != pushed.Digest.String() {
		t.Errorf("preview answers %+v", answer.Status.Images[0].Status)
	}
	if _, err := w.server.Images.ImageV1().ImageStreams(namespace).Get(t.Context(), "preview", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the stream after a preview: %v", err)
	}
	if _, err := w.server.Images.ImageV1().Images().Get(t.Context(), pushed.Digest.String(), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the image after a preview: %v", err)
	}
}

// Behaviour 36.
func testRepository(t *testing.T, w *world) {
	for _, tag := range []string{"latest", "1.0", "2.0"} {
		w.open.PushImage(t, "org/whole", tag, secondregistry.Image{Seed: tag})
	}
	w.open.Fail(http.MethodGet, "/v2/org/whole/manifests/1.0", http.StatusNotFound)
	defer w.open.Recover()
	answer := w.send(t, fmt.Sprintf(`{"metadata": {"name": "whole"}, "spec": {"import": true, "repository":
		{"from": {"kind": "DockerImage", "name": %q}, "importPolicy": {"insecure": true}}}}`, w.open.Host+"/org/whole"))
	repository := answer.Status.Repository
	if repository.Status.Status != metav1.StatusFailure || repository.Status.Reason != "ImportFailed" || !strings.HasPrefix(repository.Status.Message, "one of") {
		t.Errorf("repository: %+v", repository.Status)
	}
	shown := map[string]bool{}
	for _, tag := range w.stream(t, "whole").Status.Tags {
		shown[tag.Tag] = len(tag.Items) > 0
		if tag.Tag == "1.0" && (len(tag.Conditions) != 1 || tag.Conditions[0].Reason != string(metav1.StatusReasonNotFound)) {
			t.Errorf("conditions of the missing tag: %+v", tag.Conditions)
		}
	}
	if !shown["latest"] || !shown["2.0"] || shown["1.0"] {
		t.Errorf("tags that show an image: %v", shown)
	}
}

// Behaviours 35 and 39.
func testCredentials(t *testing.T, w *world) {
	pushed := w.closed.PushImage(t, "org/private", "v1", secondregistry.Image{Seed: "private"})
	// Its certificate is trusted because of the authority that is configured for this host alone.
	request := image("private", w.closed.Host+"/org/private:v1", "", true, false)
	if got := w.send(t, request).Status.Images[0].Status; got.Reason != metav1.StatusReasonUnauthorized {
		t.Errorf("without credentials: %+v", got)
	}
	config := fmt.Sprintf(`{"auths": {%q: {"username": "reader", "password": "pass"}}}`, w.closed.Host)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "login"}, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(config)},
	}
	if _, err := w.server.Kube.CoreV1().Secrets(namespace).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := w.send(t, request).Status.Images[0]; got.Status.Status != metav1.StatusSuccess || got.Image.Name != pushed.Digest.String() {
		t.Errorf("with the secret of the namespace: %+v", got.Status)
	}
	tag := w.stream(t, "private").Status.Tags[0]
	if len(tag.Conditions) != 0 || len(tag.Items) != 1 {
		t.Errorf("the tag is %+v", tag)
	}
	stranger := secondregistry.Start(t, secondregistry.Options{TLS: true})
	if got := w.send(t, image("denied", stranger.Host+"/org/private:v1", "", true, false)).Status.Images[0]; got.Status.Status != metav1.StatusFailure || len(stranger.Requests()) != 0 {
		t.Errorf("a registry on an address that is denied was asked %d times, status %+v", len(stranger.Requests()), got.Status)
	}
}
