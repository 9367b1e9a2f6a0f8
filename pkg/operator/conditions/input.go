package conditions

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/pkg/operator/imagestorage"
	"image.alauda.io/registry/pkg/operator/storage"
)

const (
	// unavailableGrace is how long the registry may be unavailable before it is Degraded: a node drain or
	// a volume that moves must not raise an alarm.
	unavailableGrace = 5 * time.Minute
	// failingGrace is how long transient errors may last.
	failingGrace = 2 * time.Minute
)

// Input is everything that the conditions depend on.
type Input struct {
	Now   time.Time
	State registryv1.ManagementState
	// Previous are the conditions as they are in the status.
	Previous []registryv1.OperatorCondition
	// Replicas is spec.replicas.
	Replicas int32
	// Registry and APIServer are nil while the Deployment does not exist.
	Registry, APIServer *appsv1.Deployment
	// NodeCA is nil while the DaemonSet does not exist.
	NodeCA *appsv1.DaemonSet
	// RegistryTrouble and APIServerTrouble say why Pods of the Deployments do not come up, if it is known.
	RegistryTrouble, APIServerTrouble string
	// NodeCATrouble says the same of the agents, while none is available.
	NodeCATrouble string
	// APIServiceAvailable is the Available condition of v1.image.alauda.io.
	APIServiceAvailable bool
	// APIServiceMessage says why it is not available.
	APIServiceMessage string
	// Faults are those of this sync.
	Faults fault.Classes
	// FailingSince is when the present run of transient errors began, zero without one.
	FailingSince time.Time
	// Removal is meaningful in state Removed.
	Removal Removal
	// Storage is the StorageExists condition.
	Storage storage.Existence
	// StorageReady is the StorageReady condition, nil for storage that is not tested.
	StorageReady *storage.Existence
	// Certificates and NodeTrust tell of their controllers, PullSecrets of the pull secrets.
	Certificates, NodeTrust Controller
	PullSecrets             PullSecrets
	// Routes are what is wrong with the exposure, one sentence each.
	Routes []string
	// Records are those of the image metadata in the cluster, unknown where it lies elsewhere.
	Records imagestorage.Records
	// PrivilegedForbidden tells that the namespace does not admit the agents of the nodes.
	PrivilegedForbidden bool
}

// Removal is how far the removal is.
type Removal struct {
	Done bool
	// Failed tells that removing failed for a reason that will not go away by waiting.
	Failed bool
	// Waiting says what the removal waits for.
	Waiting string
}

// Controller is the health of another controller.
type Controller struct {
	FailingSince time.Time
	Message      string
	// Problem is a permanent fault; it degrades at once.
	Problem *fault.Permanent
}

// PullSecrets is the health of the pull secrets.
type PullSecrets struct {
	Degraded  bool
	Unmanaged bool
	Message   string
}

// available counts, without a crash for what does not exist.
func available(d *appsv1.Deployment) int32 {
	if d == nil {
		return 0
	}
	return d.Status.AvailableReplicas
}

func wanted(d *appsv1.Deployment) int32 {
	if d == nil || d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}

// RolledOut says whether the last rollout is complete. A Pod that is merely rescheduled does not count: the
// Deployment keeps its verdict until its template changes.
func RolledOut(d *appsv1.Deployment) bool {
	if d.Status.ObservedGeneration < d.Generation {
		return false
	}
	condition := deploymentCondition(d, appsv1.DeploymentProgressing)
	return condition != nil && condition.Status == corev1.ConditionTrue && condition.Reason == "NewReplicaSetAvailable"
}

// overdue says whether a rollout hit its deadline.
func overdue(d *appsv1.Deployment) bool {
	if d == nil {
		return false
	}
	condition := deploymentCondition(d, appsv1.DeploymentProgressing)
	return condition != nil && condition.Status == corev1.ConditionFalse && condition.Reason == "ProgressDeadlineExceeded"
}

func deploymentCondition(d *appsv1.Deployment, kind appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	for i := range d.Status.Conditions {
		if d.Status.Conditions[i].Type == kind {
			return &d.Status.Conditions[i]
		}
	}
	return nil
}

// DependsOnTime says whether a condition may change without any event, because a grace runs out.
func DependsOnTime(in Input) bool {
	return !in.FailingSince.IsZero() || !in.Certificates.FailingSince.IsZero() || !in.NodeTrust.FailingSince.IsZero() ||
		in.PullSecrets.Degraded || availableVerdict(in).status == registryv1.ConditionFalse
}
