package conditions

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
)

var now = time.Unix(1_800_000_000, 0).UTC()

func deployment(replicas, available int32, rolled bool) *appsv1.Deployment {
	d := &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: ptr.To(replicas)}}
	d.Status.AvailableReplicas = available
	reason := "ReplicaSetUpdated"
	if rolled {
		reason = "NewReplicaSetAvailable"
	}
	d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: reason}}
	return d
}

func daemon(desired, updated, available int32) *appsv1.DaemonSet {
	return &appsv1.DaemonSet{Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: desired, UpdatedNumberScheduled: updated, NumberAvailable: available}}
}

// healthy is the documented state of a registry that works; each test breaks one thing.
func healthy() Input {
	return Input{
		Now: now, State: registryv1.Managed, Replicas: 1, APIServiceAvailable: true,
		Registry: deployment(1, 1, true), APIServer: deployment(2, 2, true), NodeCA: daemon(2, 2, 2),
	}
}

// Behaviours 36, 38: every row of the three tables.
func TestTopConditions(t *testing.T) {
	permanent := fault.Classes{Permanent: []*fault.Permanent{{Reason: "StorageNotConfigured", Message: "m"}}}
	transient := fault.Classes{Transient: []error{errors.New("busy")}}
	overdueDeployment := deployment(1, 1, false)
	overdueDeployment.Status.Conditions[0].Status = corev1.ConditionFalse
	overdueDeployment.Status.Conditions[0].Reason = "ProgressDeadlineExceeded"
	deleting := deployment(1, 1, true)
	deleting.DeletionTimestamp = &metav1.Time{Time: now}
	behind := deployment(1, 1, true)
	behind.Generation = 2
	unavailableSince := func(age time.Duration) []registryv1.OperatorCondition {
		return []registryv1.OperatorCondition{{Type: "Available", Status: "False", LastTransitionTime: metav1.NewTime(now.Add(-age))}}
	}
	for _, test := range []struct {
		name                             string
		change                           func(*Input)
		available, progressing, degraded string
	}{
		{"healthy", func(*Input) {}, "True/Ready", "False/Ready", "False/AsExpected"},
		{"unmanaged", func(in *Input) { in.State = registryv1.Unmanaged; in.Faults = permanent }, "True/Unmanaged", "False/Unmanaged", "False/Unmanaged"},
		{"removing", func(in *Input) { in.State = registryv1.Removed }, "False/Removing", "True/Removing", "False/Removed"},
		{"removed", func(in *Input) {
			*in = Input{Now: now, State: registryv1.Removed, Removal: Removal{Done: true}}
		}, "True/Removed", "False/Removed", "False/Removed"},
		{"removal fails", func(in *Input) { in.State = registryv1.Removed; in.Removal.Failed = true; in.Faults = transient }, "False/Removing", "True/Removing", "True/RemoveFailed"},
		{"nothing yet, permanent", func(in *Input) { in.Registry = nil; in.Faults = permanent }, "False/StorageNotConfigured", "False/Error", "True/StorageNotConfigured"},
		{"nothing yet", func(in *Input) { in.Registry = nil }, "False/DeploymentNotFound", "True/WaitingForDeployment", "False/AsExpected"},
		{"running, permanent", func(in *Input) { in.Faults = permanent }, "True/Ready", "False/Error", "True/StorageNotConfigured"},
		{"running, transient", func(in *Input) { in.Faults = transient; in.FailingSince = now }, "True/Ready", "True/Error", "False/AsExpected"},
		{"transient for two minutes", func(in *Input) { in.Faults = transient; in.FailingSince = now.Add(-2 * time.Minute) }, "True/Ready", "True/Error", "True/SyncError"},
		{"being deleted", func(in *Input) { in.Registry = deleting }, "False/DeploymentDeleted", "True/FinalizingDeployment", "False/AsExpected"},
		{"scaled to zero", func(in *Input) { in.Replicas = 0; in.Registry = deployment(0, 0, true) }, "False/ScaledToZero", "False/Ready", "False/AsExpected"},
		{"no replica", func(in *Input) { in.Registry = deployment(1, 0, true) }, "False/NoReplicasAvailable", "False/Ready", "False/AsExpected"},
		{"no replica for 5 minutes", func(in *Input) {
			in.Registry = deployment(1, 0, true)
			in.Previous = unavailableSince(5 * time.Minute)
		}, "False/NoReplicasAvailable", "False/Ready", "False/AsExpected"},
		{"no replica for longer", func(in *Input) {
			in.Registry = deployment(1, 0, true)
			in.Previous = unavailableSince(5*time.Minute + time.Second)
		}, "False/NoReplicasAvailable", "False/Ready", "True/Unavailable"},
		{"API server down", func(in *Input) { in.APIServer = deployment(2, 0, true) }, "False/ImageAPIServerUnavailable", "False/Ready", "False/AsExpected"},
		{"API not registered", func(in *Input) { in.APIServiceAvailable = false }, "False/ImageAPIServerUnavailable", "False/Ready", "False/AsExpected"},
		{"no agent", func(in *Input) { in.NodeCA = daemon(2, 2, 0) }, "False/NodeCAUnavailable", "False/Ready", "False/AsExpected"},
		{"one of two API servers", func(in *Input) { in.APIServer = deployment(2, 1, true) }, "True/MinimumAvailability", "False/Ready", "False/AsExpected"},
		{"rolling out", func(in *Input) { in.Registry = deployment(1, 1, false) }, "True/Ready", "True/DeploymentNotCompleted", "False/AsExpected"},
		{"generation behind", func(in *Input) { in.Registry = behind }, "True/Ready", "True/DeploymentNotCompleted", "False/AsExpected"},
		{"API server rolling out", func(in *Input) { in.APIServer = deployment(2, 2, false) }, "True/Ready", "True/DeploymentNotCompleted", "False/AsExpected"},
		{"agents rolling out", func(in *Input) { in.NodeCA = daemon(2, 1, 2) }, "True/Ready", "True/NodeCAUpdating", "False/AsExpected"},
		{"overdue", func(in *Input) { in.Registry = overdueDeployment }, "True/Ready", "True/DeploymentNotCompleted", "True/ProgressDeadlineExceeded"},
		{"certificates fail", func(in *Input) { in.Certificates.FailingSince = now.Add(-3 * time.Minute) }, "True/Ready", "False/Ready", "True/CertificatesSyncError"},
		{"certificates fail just now", func(in *Input) { in.Certificates.FailingSince = now }, "True/Ready", "False/Ready", "False/AsExpected"},
		{"bad supplied certificate", func(in *Input) { in.Certificates.Problem = &fault.Permanent{Reason: "InvalidServingCertificate"} }, "True/Ready", "False/Ready", "True/InvalidServingCertificate"},
		{"node trust fails", func(in *Input) { in.NodeTrust.FailingSince = now.Add(-3 * time.Minute) }, "True/Ready", "False/Ready", "True/NodeCASyncError"},
		{"pull secrets fail", func(in *Input) { in.PullSecrets.Degraded = true }, "True/Ready", "False/Ready", "True/PullSecretSyncError"},
		{"routes", func(in *Input) { in.Routes = []string{"x", "y"} }, "True/Ready", "False/Ready", "True/RouteDegraded"},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := healthy()
			test.change(&in)
			got := map[string]string{}
			for _, c := range Compute(in) {
				got[c.Type] = string(c.Status) + "/" + c.Reason
			}
			for kind, want := range map[string]string{"Available": test.available, "Progressing": test.progressing, "Degraded": test.degraded} {
				if got[kind] != want {
					t.Errorf("%s is %s, want %s", kind, got[kind], want)
				}
			}
		})
	}
}

// Behaviour 37.
func TestTransitionTimeMovesOnlyWithStatus(t *testing.T) {
	in := healthy()
	first := Compute(in)
	in.Previous, in.Now = first, now.Add(time.Hour)
	in.APIServer = deployment(2, 1, true) // another reason, the same status
	for _, c := range Compute(in) {
		if !c.LastTransitionTime.Time.Equal(now) {
			t.Errorf("%s moved to %s although its status is the same", c.Type, c.LastTransitionTime)
		}
	}
	in.APIServiceAvailable = false
	for _, c := range Compute(in) {
		if c.Type == "Available" && !c.LastTransitionTime.Time.Equal(in.Now) {
			t.Errorf("Available changed its status but not its time: %s", c.LastTransitionTime)
		}
	}
}

// What keeps Pods from coming up stands where people look first.
func TestConditionsSayWhyPodsDoNotComeUp(t *testing.T) {
	const trouble = "the cluster refuses its Pods: exceeded quota"
	overdue := deployment(1, 0, false)
	overdue.Status.Conditions[0].Status, overdue.Status.Conditions[0].Reason = corev1.ConditionFalse, "ProgressDeadlineExceeded"
	in := healthy()
	in.Registry, in.RegistryTrouble = overdue, trouble
	server := healthy()
	server.APIServer, server.APIServerTrouble = deployment(2, 0, false), trouble
	for _, test := range []struct {
		in    Input
		kinds []string
	}{{in, []string{"Available", "Progressing", "Degraded"}}, {server, []string{"Available", "Progressing", "ImageAPIServerAvailable"}}} {
		for _, condition := range Compute(test.in) {
			if slices.Contains(test.kinds, condition.Type) && !strings.Contains(condition.Message, trouble) {
				t.Errorf("%s/%s says %q", condition.Type, condition.Reason, condition.Message)
			}
		}
	}
}
