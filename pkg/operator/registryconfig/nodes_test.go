package registryconfig

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	kubefake "k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/render"
)

// nodeFixture is a registry that is being removed, with a DaemonSet whose agents are told to clean up.
type nodeFixture struct {
	*fixture
	told []string
}

func newNodeFixture(t *testing.T, change func(daemon *unstructured.Unstructured)) *nodeFixture {
	t.Helper()
	settings := render.Settings{Namespace: "ns", ClusterDomain: "example.test", Version: "v1", Images: render.Images{Registry: "r", APIServer: "a", NodeCA: "n", Pruner: "p"}}
	daemon, err := render.NodeCADaemonSet(settings, render.NodeModeCleanup)
	if err != nil {
		t.Fatal(err)
	}
	daemon.SetLabels(map[string]string{"app.kubernetes.io/managed-by": "m", "x": "y"})
	daemon.SetUID("uid-1")
	daemon.Object["status"] = map[string]any{"desiredNumberScheduled": int64(4), "updatedNumberScheduled": int64(3), "numberReady": int64(2)}
	if change != nil {
		change(daemon)
	}
	n := &nodeFixture{fixture: newFixture(t, removedConfig(""), daemon)}
	n.Events = func(_, reason, message string) { n.told = append(n.told, reason+": "+message) }
	n.fill(t)
	n.dynamic.PrependReactor("patch", "daemonsets", func(clienttesting.Action) (bool, runtime.Object, error) { return true, daemon, nil })
	return n
}

// agent puts a Pod of node-ca on a node.
func (n *nodeFixture) agent(t *testing.T, node, mode string, ready corev1.ConditionStatus) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "on-" + node, Labels: map[string]string{registryv1.LabelName: registryv1.NodeCAName}}}
	pod.Spec.NodeName = node
	pod.Spec.Containers = []corev1.Container{{Name: "node-ca", Env: []corev1.EnvVar{{Name: render.NodeModeVariable, Value: mode}}}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
	if _, err := n.Kube.CoreV1().Pods("ns").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// deletions are the policies of the requests that delete the DaemonSet in the background path.
func (n *nodeFixture) deletions() []string {
	var out []string
	for _, action := range n.Kube.(*kubefake.Clientset).Actions() {
		if deletion, ok := action.(clienttesting.DeleteAction); ok && action.GetResource().Resource == "daemonsets" {
			options := deletion.GetDeleteOptions()
			out = append(out, fmt.Sprintf("%s %s %s", deletion.GetName(), *options.PropagationPolicy, *options.Preconditions.UID))
		}
	}
	return out
}

// Behaviour 79: after ten minutes the removal goes on without the nodes that nobody reaches, and names them.
func TestUnreachableNodesDelayTheRemovalForTenMinutes(t *testing.T) {
	n := newNodeFixture(t, nil)
	n.agent(t, "clean", "cleanup", corev1.ConditionTrue)
	n.agent(t, "dirty", "cleanup", corev1.ConditionFalse)
	n.agent(t, "never-told", "sync", corev1.ConditionTrue)
	for name, os := range map[string]string{"without-agent": "linux", "clean": "linux", "other-system": "windows"} {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelOSStable: os}}}
		if err := n.Cluster.Core().V1().Nodes().Informer().GetIndexer().Add(node); err != nil {
			t.Fatal(err)
		}
	}
	for _, wait := range []time.Duration{0, cleanupPatience - time.Second} {
		n.clock.Step(wait)
		if done, err := n.cleanNodes(t.Context()); done || err != nil {
			t.Fatalf("done %t, error %v before the patience ended", done, err)
		}
	}
	if len(n.told) > 0 || len(n.deletions()) > 0 {
		t.Fatalf("given up too early: events %q, deletions %q", n.told, n.deletions())
	}
	n.clock.Step(time.Second)
	if _, err := n.cleanNodes(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := "NodeCleanupIncomplete: these nodes did not report that the registry's CA and host entry are gone: dirty, never-told, without-agent; what is left there harms nothing, and the next agent takes it over"
	if !slices.Equal(n.told, []string{want}) {
		t.Errorf("events %q, want %q", n.told, want)
	}
	if got := n.deletions(); !slices.Equal(got, []string{"node-ca Background uid-1"}) {
		t.Errorf("deletions %q", got)
	}
}

// A node that dies after it was clean holds a deletion in the foreground.
func TestADeletionThatHangsIsGivenUp(t *testing.T) {
	n := newNodeFixture(t, func(daemon *unstructured.Unstructured) {
		now := metav1.Now()
		daemon.SetDeletionTimestamp(&now)
		daemon.SetFinalizers([]string{metav1.FinalizerDeleteDependents})
	})
	if done, err := n.cleanNodes(t.Context()); !done || err != nil {
		t.Fatalf("done %t, error %v, want the next stage to wait for the DaemonSet", done, err)
	}
	n.clock.Step(cleanupPatience)
	if _, err := n.cleanNodes(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := n.deletions(); len(got) != 1 || len(n.told) != 1 {
		t.Errorf("deletions %q, events %q", got, n.told)
	}
}

// Behaviour 79: a cluster that refuses the roll has no other end either.
func TestARollThatIsRefusedDoesNotHoldTheRemovalForEver(t *testing.T) {
	n := newNodeFixture(t, func(daemon *unstructured.Unstructured) {
		_ = unstructured.SetNestedField(daemon.Object, "another", "spec", "template", "spec", "serviceAccountName")
	})
	n.dynamic.PrependReactor("patch", "daemonsets", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("denied by a policy")
	})
	if done, err := n.cleanNodes(t.Context()); done || err == nil {
		t.Fatalf("done %t, error %v, want the refusal", done, err)
	}
	n.clock.Step(cleanupPatience)
	if _, err := n.cleanNodes(t.Context()); err == nil || len(n.deletions()) != 1 {
		t.Errorf("error %v, deletions %q", err, n.deletions())
	}
}

func TestCleanNodesAreNotWaitedFor(t *testing.T) {
	n := newNodeFixture(t, func(daemon *unstructured.Unstructured) {
		daemon.Object["status"] = map[string]any{"desiredNumberScheduled": int64(4), "updatedNumberScheduled": int64(4), "numberReady": int64(4)}
	})
	if done, err := n.cleanNodes(t.Context()); !done || err != nil || len(n.told) > 0 || len(n.deletions()) > 0 {
		t.Errorf("done %t, error %v, events %q, deletions %q", done, err, n.told, n.deletions())
	}
}

func TestAtMostTwentyNodesAreNamed(t *testing.T) {
	var many []string
	for i := range 25 {
		many = append(many, fmt.Sprintf("n%02d", i))
	}
	if got := named(many); !strings.HasSuffix(got, "n19 and 5 more") || strings.Contains(got, "n20") {
		t.Errorf("named as %q", got)
	}
	if got := named(many[:20]); strings.Contains(got, "more") || !strings.HasSuffix(got, "n19") {
		t.Errorf("named as %q", got)
	}
}

// Only what the agents are told of brings a sync: nodes report every few seconds.
func TestHeartbeatsOfNodesBringNoSync(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}
	node.Status.NodeInfo.ContainerRuntimeVersion = "containerd://2.2.1"
	beat := node.DeepCopy()
	beat.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, LastHeartbeatTime: metav1.Now()}}
	if nodeFacts(node) != nodeFacts(beat) {
		t.Error("a heartbeat counts as a change")
	}
	upgraded := node.DeepCopy()
	upgraded.Status.NodeInfo.ContainerRuntimeVersion = "containerd://2.3.0"
	moved := node.DeepCopy()
	moved.Labels = map[string]string{corev1.LabelTopologyZone: "a"}
	if nodeFacts(node) == nodeFacts(upgraded) || nodeFacts(node) == nodeFacts(moved) {
		t.Error("a new runtime or zone is overlooked")
	}
}
