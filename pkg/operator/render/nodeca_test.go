package render

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"
)

func nodeDaemon(t *testing.T, mode string) *appsv1.DaemonSet {
	t.Helper()
	object, err := NodeCADaemonSet(settings(t), mode)
	if err != nil {
		t.Fatal(err)
	}
	daemon := &appsv1.DaemonSet{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, daemon); err != nil {
		t.Fatal(err)
	}
	return daemon
}

// Behaviour node-ca 31: the template as the specification has it, apart from what it leaves to the operator.
func TestTheAgentsPodIsTheOneThatWasAgreedUpon(t *testing.T) {
	text, err := os.ReadFile("testdata/node-ca-agreed.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := appsv1.DaemonSetSpec{}
	if err := yaml.UnmarshalStrict(text, &want); err != nil {
		t.Fatal(err)
	}
	got := nodeDaemon(t, NodeModeSync).Spec
	got.Selector, got.Template.Labels = nil, nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("DaemonSet (-agreed +rendered):\n%s", diff)
	}
}

// Behaviour node-ca 31.
func TestTheAgentsPodHasNoRightTooMany(t *testing.T) {
	pod := nodeDaemon(t, NodeModeSync).Spec.Template.Spec
	if ptr.Deref(pod.AutomountServiceAccountToken, true) {
		t.Error("a token is mounted")
	}
	if pod.HostNetwork || pod.HostPID || pod.HostIPC || pod.HostUsers != nil {
		t.Errorf("a namespace of the host is used: network %t, processes %t, IPC %t, users %v", pod.HostNetwork, pod.HostPID, pod.HostIPC, pod.HostUsers)
	}
	var paths []string
	for _, volume := range pod.Volumes {
		if volume.Projected != nil || volume.Secret != nil {
			t.Errorf("volume %s could hold a credential", volume.Name)
		}
		if volume.HostPath != nil {
			paths = append(paths, volume.HostPath.Path)
		}
	}
	if diff := cmp.Diff([]string{"/etc"}, paths); diff != "" {
		t.Errorf("paths of the host (-want +got):\n%s", diff)
	}
	if len(pod.Containers) != 1 || len(pod.InitContainers) > 0 {
		t.Fatalf("%d containers, %d of them first", len(pod.Containers)+len(pod.InitContainers), len(pod.InitContainers))
	}
	security := pod.Containers[0].SecurityContext
	if ptr.Deref(security.Privileged, true) || ptr.Deref(security.AllowPrivilegeEscalation, true) || !ptr.Deref(security.ReadOnlyRootFilesystem, false) {
		t.Errorf("security context %v", security)
	}
	if drop := security.Capabilities.Drop; len(security.Capabilities.Add) > 0 || len(drop) != 1 || drop[0] != "ALL" {
		t.Errorf("capabilities %v", security.Capabilities)
	}
}

// Each probe by exec costs a node about 25 ms of processor time; a millicore are 60 ms a minute. The startup probe
// runs for seconds.
func TestTheAgentsProbesFitIntoAMillicore(t *testing.T) {
	container := nodeDaemon(t, NodeModeSync).Spec.Template.Spec.Containers[0]
	const costOfOne = 25.0
	cost := 0.0
	for name, probe := range map[string]*corev1.Probe{"readiness": container.ReadinessProbe, "liveness": container.LivenessProbe} {
		if probe.Exec == nil {
			t.Errorf("the %s probe is not by exec: its reasons appear in no Event", name)
		}
		cost += costOfOne * 60 / float64(probe.PeriodSeconds)
	}
	if cost > 60 {
		t.Errorf("the probes cost %.0f ms a minute, 60 are allowed", cost)
	}
	if startup := container.StartupProbe; startup == nil || startup.PeriodSeconds > 2 || startup.FailureThreshold*startup.PeriodSeconds < 300 {
		t.Errorf("startup probe %v: without a quick one a roll waits a minute for each node, and a short one ends slow first passes", startup)
	}
}

// Behaviour 79: the roll that cleans the nodes differs in its mode and in its pace.
func TestCleaningDiffersInModeAndPace(t *testing.T) {
	want, got := nodeDaemon(t, NodeModeSync), nodeDaemon(t, NodeModeCleanup)
	want.Spec.Template.Spec.Containers[0].Env[0].Value = "cleanup"
	want.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable.StrVal = "100%"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("DaemonSet (-want +got):\n%s", diff)
	}
}
