package registryconfig

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

func podWith(name string, status corev1.ContainerStatus) corev1.Pod {
	status.Name, status.Image = "registry", "r:1"
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{status}}}
}

func waits(reason string) corev1.ContainerStatus {
	return corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "secret \"x\" not found"}}}
}

func ended(code int32) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}
}

// The states between which a Pod goes back and forth make one text, or the condition would flap with them.
func TestTroubleIsToldInTheSameWords(t *testing.T) {
	again := waits("CrashLoopBackOff")
	again.LastTerminationState = ended(2)
	unscheduled := corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/2 nodes\nare available"}}}}
	ready := podWith("a", corev1.ContainerStatus{LastTerminationState: ended(1)})
	ready.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	since := func(age time.Duration, last corev1.ContainerState) corev1.ContainerStatus {
		started := metav1.NewTime(time.Unix(0, 0).Add(time.Hour - age))
		return corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}}, LastTerminationState: last}
	}
	memory := ended(137)
	memory.Terminated.Reason = "OOMKilled"
	evicted := podWith("a", corev1.ContainerStatus{State: ended(137)})
	evicted.Status.Phase, evicted.Status.Reason, evicted.Status.Message = corev1.PodFailed, "Evicted", "The node was low on resource: ephemeral-storage."
	going := podWith("a", waits("ImagePullBackOff"))
	going.DeletionTimestamp = &metav1.Time{}
	beside := podWith("a", waits("ErrImagePull"))
	sidecar := since(30*time.Minute, ended(2))
	sidecar.Name, sidecar.Ready = "sidecar", true
	beside.Status.ContainerStatuses = append([]corev1.ContainerStatus{sidecar}, beside.Status.ContainerStatuses...)
	for _, test := range []struct {
		name string
		pods []corev1.Pod
		want string
	}{
		{"a container that is well beside it", []corev1.Pod{beside}, "image r:1 cannot be pulled"},
		{"no Pods", nil, ""},
		{"a Pod that starts", []corev1.Pod{podWith("a", waits("ContainerCreating"))}, ""},
		{"a Pod that serves again", []corev1.Pod{ready}, ""},
		{"a Pod that goes", []corev1.Pod{going}, ""},
		{"no node", []corev1.Pod{unscheduled}, "a Pod finds no node: 0/2 nodes are available"},
		{"first try to pull", []corev1.Pod{podWith("a", waits("ErrImagePull"))}, "image r:1 cannot be pulled"},
		{"next try to pull", []corev1.Pod{podWith("b", waits("ImagePullBackOff"))}, "image r:1 cannot be pulled"},
		{"a Secret is missing", []corev1.Pod{podWith("a", waits("CreateContainerConfigError"))}, `a container cannot be started: secret "x" not found`},
		{"just ended", []corev1.Pod{podWith("a", corev1.ContainerStatus{State: ended(2)})}, "container registry ends with code 2; see its log"},
		{"ended before", []corev1.Pod{podWith("a", again)}, "container registry ends with code 2; see its log"},
		{"between two ends", []corev1.Pod{podWith("a", since(time.Minute, ended(2)))}, "container registry ends with code 2; see its log"},
		{"ended long ago, and waits for its storage", []corev1.Pod{podWith("a", since(30*time.Minute, ended(2)))}, "container registry runs but is not ready; see its log"},
		{"starts", []corev1.Pod{podWith("a", since(time.Second, corev1.ContainerState{}))}, ""},
		{"out of memory", []corev1.Pod{podWith("a", corev1.ContainerStatus{State: memory})}, "container registry needs more memory than its limit"},
		{"evicted", []corev1.Pod{evicted}, "the node ended a Pod (Evicted): The node was low on resource: ephemeral-storage."},
		{"evicted last week", []corev1.Pod{evicted, podWith("b", waits("ErrImagePull"))}, "image r:1 cannot be pulled"},
		{"two in another order", []corev1.Pod{podWith("b", waits("ErrImagePull")), unscheduled}, "a Pod finds no node: 0/2 nodes are available"},
	} {
		if got := podTrouble(test.pods, time.Unix(0, 0).Add(time.Hour)); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestRefusedPodsAreExplained(t *testing.T) {
	refused := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: registryv1.RegistryName}}
	refused.Status.UnavailableReplicas = 1
	refused.Status.Conditions = []appsv1.DeploymentCondition{{
		Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: `pods "image-registry-1-" is forbidden: violates PodSecurity ` + strings.Repeat("x", 2*maxTrouble),
	}}
	config := removedConfig("")
	f := newFixture(t, config)
	if got := f.trouble(t.Context(), config, workloads{registry: refused}); len(got) != 0 {
		t.Errorf("of a registry that is removed: %q", got)
	}
	config.Spec.ManagementState = registryv1.Managed
	got := f.trouble(t.Context(), config, workloads{registry: refused})[registryv1.RegistryName]
	if !strings.Contains(got, "violates PodSecurity") || len(got) > 2*maxTrouble {
		t.Errorf("%q", got)
	}
	refused.Status.UnavailableReplicas = 0
	if got := f.trouble(t.Context(), config, workloads{registry: refused}); len(got) != 0 {
		t.Errorf("of a registry that is well: %q", got)
	}
}

// Agents are asked why only when there is none: thousands of Pods are not read for one that starts.
func TestTheAgentsSayWhyNoneComesUp(t *testing.T) {
	config := removedConfig("")
	config.Spec.ManagementState = registryv1.Managed
	f := newFixture(t, config)
	pod := podWith("node-ca-1", waits("ImagePullBackOff"))
	pod.Namespace, pod.Labels = "ns", map[string]string{registryv1.LabelName: registryv1.NodeCAName}
	if _, err := f.Kube.CoreV1().Pods("ns").Create(t.Context(), &pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	agents := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: registryv1.NodeCAName}}
	agents.Status.DesiredNumberScheduled = 3
	if got := f.trouble(t.Context(), config, workloads{nodeCA: agents})[registryv1.NodeCAName]; got != "image r:1 cannot be pulled" {
		t.Errorf("%q", got)
	}
	agents.Status.NumberAvailable = 1
	if got := f.trouble(t.Context(), config, workloads{nodeCA: agents}); len(got) != 0 {
		t.Errorf("of agents that work: %q", got)
	}
}
