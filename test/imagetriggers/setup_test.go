//go:build component

package imagetriggers

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/manifests"
	"image.alauda.io/registry/pkg/imageapiserver/webhook/lookup"
	"image.alauda.io/registry/test/controlplane"
	"image.alauda.io/registry/test/imageapi"
)

// The Deployment controller makes ReplicaSets, so that a rollout can be seen.
var shared = controlplane.NewShared(controlplane.WithControllerManager("deployment-controller"))

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

// kind is a workload and where it has its Pod.
type kind struct {
	name     string
	resource schema.GroupVersionResource
	path     []string
}

func kinds() []kind {
	template := []string{"spec", "template"}
	of := func(name, group, resource string, path ...string) kind {
		return kind{name, schema.GroupVersionResource{Group: group, Version: "v1", Resource: resource}, path}
	}
	return []kind{
		of("Deployment", "apps", "deployments", template...),
		of("DaemonSet", "apps", "daemonsets", template...),
		of("StatefulSet", "apps", "statefulsets", template...),
		of("CronJob", "batch", "cronjobs", "spec", "jobTemplate", "spec", "template"),
		of("ReplicaSet", "apps", "replicasets", template...),
		of("ReplicationController", "", "replicationcontrollers", template...),
		of("Job", "batch", "jobs", template...),
		of("Pod", "", "pods"),
	}
}

// followers are the kinds that can follow tags.
func followers() []kind { return kinds()[:4] }

func kindNamed(name string) kind {
	return kinds()[slices.IndexFunc(kinds(), func(k kind) bool { return k.name == name })]
}

// fixture is a namespace on a running image API.
type fixture struct {
	*imageapi.Server
	t         *testing.T
	dynamic   dynamic.Interface
	namespace string
}

func newFixture(t *testing.T, server *imageapi.Server) *fixture {
	t.Helper()
	f := &fixture{Server: server, t: t, dynamic: dynamic.NewForConfigOrDie(server.CP.Config), namespace: "team-" + rand.String(5)}
	f.newNamespace(f.namespace)
	return f
}

func (f *fixture) newNamespace(name string) {
	f.t.Helper()
	imageapi.CreateNamespace(f.t, f.Kube, name)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := f.Kube.CoreV1().ServiceAccounts(name).Create(f.t.Context(), account, metav1.CreateOptions{}); err != nil {
		f.t.Fatal(err)
	}
}

func digestOf(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }

// newStream creates a stream.
func (f *fixture) newStream(namespace, name string, local bool) {
	f.t.Helper()
	stream := &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Name: name}}
	stream.Spec.LookupPolicy.Local = local
	if _, err := f.Images.ImageV1().ImageStreams(namespace).Create(f.t.Context(), stream, metav1.CreateOptions{}); err != nil {
		f.t.Fatal(err)
	}
}

// push makes a tag point to new content, as the registry does, and returns its pull spec.
func (f *fixture) push(namespace, stream, tag, content string) string {
	f.t.Helper()
	mapping := &imagev1.ImageStreamMapping{
		ObjectMeta: metav1.ObjectMeta{Name: stream}, Tag: tag,
		Image: imagev1.Image{
			ObjectMeta: metav1.ObjectMeta{Name: digestOf(content), Annotations: map[string]string{
				imagev1.ManagedByAlaudaAnnotation: "true", imagev1.ImageManifestBlobStoredAnnotation: "true",
			}},
			DockerImageReference:         imageapi.InternalHost + "/" + namespace + "/" + stream + "@" + digestOf(content),
			DockerImageManifestMediaType: "application/vnd.oci.image.manifest.v1+json",
			DockerImageLayers:            []imagev1.ImageLayer{{Name: digestOf(content + " layer"), LayerSize: 7, MediaType: "application/vnd.oci.image.layer.v1.tar+gzip"}},
		},
	}
	if _, err := f.Images.ImageV1().ImageStreamMappings(namespace).Create(f.t.Context(), mapping, metav1.CreateOptions{}); err != nil {
		f.t.Fatal(err)
	}
	return imageapi.InternalHost + "/" + namespace + "/" + stream + "@" + digestOf(content)
}

// workload builds an object of a kind with containers c0, c1, … that run the given images.
func (k kind) workload(name string, annotations map[string]string, images ...string) *unstructured.Unstructured {
	var containers []any
	for i, image := range images {
		containers = append(containers, map[string]any{"name": fmt.Sprintf("c%d", i), "image": image})
	}
	pod := map[string]any{"spec": map[string]any{"containers": containers}}
	object := &unstructured.Unstructured{Object: map[string]any{}}
	labels := map[string]any{"app": name}
	switch k.name {
	case "Pod":
		object.Object = pod
	case "Job":
		pod["spec"].(map[string]any)["restartPolicy"] = "Never"
		object.Object["spec"] = map[string]any{"template": pod}
	case "CronJob":
		pod["spec"].(map[string]any)["restartPolicy"] = "Never"
		object.Object["spec"] = map[string]any{"schedule": "0 0 1 1 *", "jobTemplate": map[string]any{"spec": map[string]any{"template": pod}}}
	default:
		pod["metadata"] = map[string]any{"labels": labels}
		selector := map[string]any{"matchLabels": labels}
		if k.name == "ReplicationController" {
			selector = labels
		}
		object.Object["spec"] = map[string]any{"selector": selector, "template": pod}
		if k.name == "StatefulSet" {
			object.Object["spec"].(map[string]any)["serviceName"] = name
		}
	}
	object.SetAPIVersion(k.resource.GroupVersion().String())
	object.SetKind(k.name)
	object.SetName(name)
	object.SetAnnotations(annotations)
	return object
}

// images are those of the containers, then of the ephemeral containers.
func (k kind) images(object *unstructured.Unstructured) []string {
	var all []string
	for _, list := range []string{"containers", "ephemeralContainers"} {
		containers, _, _ := unstructured.NestedSlice(object.Object, append(slices.Clone(k.path), "spec", list)...)
		for _, container := range containers {
			image, _ := container.(map[string]any)["image"].(string)
			all = append(all, image)
		}
	}
	return all
}

func (k kind) fieldPath(selector string) string {
	return strings.Join(append(slices.Clone(k.path), "spec"), ".") + ".containers[" + selector + "].image"
}

func (f *fixture) client(k kind) dynamic.ResourceInterface {
	return f.dynamic.Resource(k.resource).Namespace(f.namespace)
}

func (f *fixture) create(k kind, object *unstructured.Unstructured) *unstructured.Unstructured {
	f.t.Helper()
	created, err := f.client(k).Create(f.t.Context(), object, metav1.CreateOptions{})
	if err != nil {
		f.t.Fatalf("create %s: %v", k.name, err)
	}
	return created
}

// change updates an object, again when somebody else did meanwhile.
func (f *fixture) change(k kind, name string, change func(*unstructured.Unstructured)) *unstructured.Unstructured {
	f.t.Helper()
	var updated *unstructured.Unstructured
	imageapi.Eventually(f.t, "update "+k.name+" "+name, func(ctx context.Context) error {
		live, err := f.client(k).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(live)
		updated, err = f.client(k).Update(ctx, live, metav1.UpdateOptions{})
		return err
	})
	return updated
}

// runs waits until the containers run the images.
func (f *fixture) runs(k kind, name string, want ...string) *unstructured.Unstructured {
	f.t.Helper()
	var live *unstructured.Unstructured
	imageapi.Eventually(f.t, k.name+" "+name+" runs other images", func(ctx context.Context) error {
		var err error
		if live, err = f.client(k).Get(ctx, name, metav1.GetOptions{}); err != nil {
			return err
		}
		if got := k.images(live); !slices.Equal(got, want) {
			return fmt.Errorf("images %q, want %q", got, want)
		}
		return nil
	})
	return live
}

// told waits for an Event about an object.
func (f *fixture) told(name, reason, text string) {
	f.t.Helper()
	imageapi.Eventually(f.t, "Event "+reason+" about "+name, func(ctx context.Context) error {
		events, err := f.Kube.CoreV1().Events(f.namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, event := range events.Items {
			if event.InvolvedObject.Name == name && event.Reason == reason && strings.Contains(event.Message, text) {
				return nil
			}
		}
		return fmt.Errorf("none among %d", len(events.Items))
	})
}

func setImages(k kind, images ...string) func(*unstructured.Unstructured) {
	return func(object *unstructured.Unstructured) {
		path := append(slices.Clone(k.path), "spec", "containers")
		containers, _, _ := unstructured.NestedSlice(object.Object, path...)
		for i, image := range images {
			containers[i].(map[string]any)["image"] = image
		}
		_ = unstructured.SetNestedSlice(object.Object, containers, path...)
	}
}

// trigger is the annotation for one field.
func trigger(namespace, name, fieldPath string) map[string]string {
	from := map[string]any{"kind": "ImageStreamTag", "name": name}
	if namespace != "" {
		from["namespace"] = namespace
	}
	text, _ := json.Marshal([]any{map[string]any{"from": from, "fieldPath": fieldPath}})
	return map[string]string{imagev1.TriggersAnnotation: string(text)}
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// registerWebhook registers the operator's manifest with loopback in place of the Service.
func registerWebhook(t *testing.T, server *imageapi.Server, port int) {
	t.Helper()
	data, err := manifests.Operand(manifests.ImageAPIServer, "lookup-webhook.yaml")
	if err != nil {
		t.Fatal(err)
	}
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{}
	if err := yaml.UnmarshalStrict(data, configuration); err != nil {
		t.Fatal(err)
	}
	_, _, ca := server.CP.ServingCert(t, "unused")
	for i := range configuration.Webhooks {
		service := configuration.Webhooks[i].ClientConfig.Service
		if service == nil || service.Path == nil || *service.Path != lookup.Path {
			t.Fatalf("webhook %s does not go to %s", configuration.Webhooks[i].Name, lookup.Path)
		}
		url := fmt.Sprintf("https://127.0.0.1:%d%s", port, *service.Path)
		configuration.Webhooks[i].ClientConfig = admissionregistrationv1.WebhookClientConfig{URL: &url, CABundle: ca}
	}
	webhooks := server.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations()
	if _, err := webhooks.Create(t.Context(), configuration, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := webhooks.Delete(context.Background(), configuration.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}
