package registryconfig

import (
	"strings"
	"testing"

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
	going := podWith("a", waits("ImagePullBackOff"))
	going.DeletionTimestamp = &metav1.Time{}
	for _, test := range []struct {
		name string
		pods []corev1.Pod
		want string
	}{
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
		{"two in another order", []corev1.Pod{podWith("b", waits("ErrImagePull")), unscheduled}, "a Pod finds no node: 0/2 nodes are available"},
	} {
		if got := podTrouble(test.pods); got != test.want {
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
