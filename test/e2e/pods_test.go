//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// sampleIndex is the image that Pods of the tests run.
func sampleIndex(t *testing.T) v1.ImageIndex {
	t.Helper()
	index, err := layout.ImageIndexFromPath(filepath.Join(shared.root, "_output", "images", "sample"))
	if err != nil {
		t.Fatalf("sample image: %v", err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) == 0 {
		t.Fatalf("sample image layout is empty: %v", err)
	}
	child, err := index.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatalf("sample image: %v", err)
	}
	return child
}

func pushSample(t *testing.T, repository string, auth remote.Option) {
	t.Helper()
	if err := remote.WriteIndex(shared.reference(t, repository), sampleIndex(t), shared.remoteOptions(t, auth)...); err != nil {
		t.Fatalf("push %s: %v", repository, err)
	}
}

func nodes(t *testing.T) []corev1.Node {
	t.Helper()
	list, err := shared.kube.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) < 2 {
		t.Fatalf("the cluster has %d nodes, the test needs 2", len(list.Items))
	}
	return list.Items
}

// runPod starts a Pod whose image the kubelet of the node has to pull.
func runPod(t *testing.T, namespace, name, node, image string) {
	t.Helper()
	grace := int64(1)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: corev1.PodSpec{
			NodeName:                      node,
			TerminationGracePeriodSeconds: &grace,
			Containers:                    []corev1.Container{{Name: "app", Image: image, ImagePullPolicy: corev1.PullAlways}},
		},
	}
	if _, err := shared.kube.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func waitReady(t *testing.T, namespace, name string) {
	t.Helper()
	eventually(t, fmt.Sprintf("Pod %s/%s", namespace, name), func(ctx context.Context) error {
		pod, err := shared.kube.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				return nil
			}
		}
		for _, c := range pod.Status.ContainerStatuses {
			if c.State.Waiting != nil {
				return fmt.Errorf("on %s: %s: %s", pod.Spec.NodeName, c.State.Waiting.Reason, c.State.Waiting.Message)
			}
		}
		return fmt.Errorf("on %s: phase %s", pod.Spec.NodeName, pod.Status.Phase)
	})
}

// Behaviour registry 100, with containerd.
func TestPodsOnEveryNodePullByServiceName(t *testing.T) {
	namespace := shared.namespace(t, "pods")
	pushSample(t, namespace+"/hello:v1", shared.pusher(t, namespace))
	pullSecretToken(t, namespace, "default") // Pods created before it would have none for life

	image := internalHost + "/" + namespace + "/hello:v1"
	for _, node := range nodes(t) {
		runPod(t, namespace, "on-"+node.Name, node.Name, image)
	}
	for _, node := range nodes(t) {
		waitReady(t, namespace, "on-"+node.Name)
	}
}

func TestPodInAnotherNamespacePullsAfterTheDocumentedRoleBinding(t *testing.T) {
	source := shared.namespace(t, "source")
	pushSample(t, source+"/hello:v1", shared.pusher(t, source))
	image := internalHost + "/" + source + "/hello:v1"

	target := shared.namespace(t, "target")
	pullSecretToken(t, target, "default")
	node := nodes(t)[1].Name
	runPod(t, target, "app", node, image)
	eventually(t, "the kubelet is refused", func(ctx context.Context) error {
		events, err := shared.kube.CoreV1().Events(target).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=app,reason=Failed"})
		if err != nil {
			return err
		}
		if len(events.Items) == 0 {
			return fmt.Errorf("no event of a failed pull yet")
		}
		return nil
	})
	shared.shell(t, fmt.Sprintf("kubectl -n %s create rolebinding pull-from-%s --clusterrole=system:image-puller --serviceaccount=%s:default", source, target, target))
	waitReady(t, target, "app")
}
