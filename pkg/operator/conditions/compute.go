package conditions

import (
	"sort"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/imagestorage"
)

// Compute returns all conditions of Config, sorted by type. A transition time moves only with the status.
func Compute(in Input) []registryv1.OperatorCondition {
	in = in.brief()
	verdicts := map[string]verdict{
		registryv1.ConditionAvailable:               availableVerdict(in),
		registryv1.ConditionProgressing:             progressingVerdict(in),
		registryv1.ConditionDegraded:                degradedVerdict(in),
		registryv1.ConditionRemoved:                 removedVerdict(in),
		registryv1.ConditionStorageExists:           storageVerdict(in),
		registryv1.ConditionImageAPIServerAvailable: apiServerVerdict(in),
		registryv1.ConditionNodeCAAvailable:         nodeAvailableVerdict(in),
		registryv1.ConditionNodeCAProgressing:       nodeProgressingVerdict(in),
		registryv1.ConditionNodeCAControllerDegraded: controllerVerdict(in.NodeTrust, "the nodes get their trust",
			registryv1.ReasonNodeCASyncError),
		registryv1.ConditionCertificatesDegraded: controllerVerdict(in.Certificates, "certificates are in order",
			registryv1.ReasonCertificatesSyncError),
		registryv1.ConditionPullSecretDegraded: pullSecretVerdict(in.PullSecrets),
		registryv1.ConditionIngressDegraded:    ingressVerdict(in.Routes),
	}
	if ready := in.StorageReady; ready != nil && in.State != registryv1.Removed {
		verdicts[registryv1.ConditionStorageReady] = verdict{ready.Status, ready.Reason, ready.Message}
	}
	if in.Records.Known && in.State == registryv1.Managed {
		verdicts[registryv1.ConditionImageStorageNearLimit] = recordsVerdict(in)
	}
	out := make([]registryv1.OperatorCondition, 0, len(verdicts))
	for kind, v := range verdicts {
		out = append(out, registryv1.OperatorCondition{Type: kind, Status: v.status, Reason: v.reason, Message: v.message})
	}
	return Keep(in.Previous, out, metav1.NewTime(in.Now))
}

// Keep fills in the transition times: the previous one where the status is the same, now elsewhere. The
// result is sorted by type. A message that is too long to be stored is cut.
func Keep(previous, next []registryv1.OperatorCondition, now metav1.Time) []registryv1.OperatorCondition {
	before := map[string]registryv1.OperatorCondition{}
	for _, condition := range previous {
		before[condition.Type] = condition
	}
	for i := range next {
		next[i].Message = clip(next[i].Message)
		next[i].LastTransitionTime = now.Rfc3339Copy()
		if old, ok := before[next[i].Type]; ok && old.Status == next[i].Status {
			next[i].LastTransitionTime = old.LastTransitionTime
		}
	}
	sort.Slice(next, func(i, j int) bool { return next[i].Type < next[j].Type })
	return next
}

func removedVerdict(in Input) verdict {
	switch {
	case in.State != registryv1.Removed:
		return no(registryv1.ReasonNotRemoved, "")
	case in.Removal.Done:
		return yes(registryv1.ReasonRemoved, "everything is removed")
	default:
		return no(registryv1.ReasonRemoving, "%s", removalMessage(in))
	}
}

func storageVerdict(in Input) verdict {
	switch {
	case in.State == registryv1.Removed:
		return no(registryv1.ReasonRemoved, "the registry is removed")
	case in.Storage.Reason == "":
		return verdict{registryv1.ConditionUnknown, registryv1.ReasonUnknownError, "the storage has not been looked at"}
	default:
		return verdict{in.Storage.Status, in.Storage.Reason, in.Storage.Message}
	}
}

func apiServerVerdict(in Input) verdict {
	return first([]rule{
		{in.State == registryv1.Removed && in.APIServer == nil, no(registryv1.ReasonRemoved, "the registry is removed")},
		{in.APIServer == nil, no(registryv1.ReasonDeploymentNotFound, "Deployment image-api-server does not exist yet")},
		{available(in.APIServer) == 0, no(registryv1.ReasonNoReplicasAvailable, "Deployment image-api-server has no available Pod%s", because(in.APIServerTrouble))},
		{!in.APIServiceAvailable, no(registryv1.ReasonImageAPIServerUnavailable, "%s", apiServiceMessage(in))},
		{true, yes(registryv1.ReasonReady, "the Image API is served")},
	})
}

// recordsVerdict only informs: the cluster's store holds more, but backups, lists and restarts become slow.
func recordsVerdict(in Input) verdict {
	if in.Records.Many() {
		return yes(registryv1.ReasonRecordsNearLimit,
			"the cluster holds more than %d images and image streams; move them to an etcd of their own (spec.imageAPI.storage), or prune", imagestorage.NearLimit)
	}
	return no(registryv1.ReasonAsExpected, "the cluster's store is good for the images and image streams in it")
}

func nodeAvailableVerdict(in Input) verdict {
	desired, ready := nodeNumbers(in)
	v := first([]rule{
		{in.State == registryv1.Removed && in.NodeCA == nil, no(registryv1.ReasonRemoved, "the registry is removed")},
		{in.NodeCA == nil, no(registryv1.ReasonNodeCAUnavailable, "DaemonSet node-ca does not exist yet")},
		{desired > 0 && ready == 0, no(registryv1.ReasonNodeCAUnavailable, "DaemonSet node-ca has no available Pod%s", because(in.NodeCATrouble))},
		{ready < desired, yes(registryv1.ReasonMinimumAvailability, "some nodes have no available agent")},
		{true, yes(registryv1.ReasonReady, "every node has its agent")},
	})
	if in.PrivilegedForbidden && in.State != registryv1.Removed {
		v.message += "; label pod-security.kubernetes.io/enforce of the namespace forbids the agents of the nodes, set it to privileged"
	}
	return v
}

func nodeProgressingVerdict(in Input) verdict {
	if nodesUpdating(in) {
		return yes(registryv1.ReasonNodeCAUpdating, "DaemonSet node-ca is being updated on the nodes")
	}
	return no(registryv1.ReasonAsExpected, "")
}

func controllerVerdict(c Controller, fine, reason string) verdict {
	switch {
	case c.Problem != nil:
		return yes(c.Problem.Reason, "%s", c.Problem.Message)
	case !c.FailingSince.IsZero():
		return yes(reason, "%s", c.Message)
	default:
		return no(registryv1.ReasonAsExpected, "%s", fine)
	}
}

func pullSecretVerdict(p PullSecrets) verdict {
	switch {
	case p.Degraded:
		return yes("TokenRefreshFailing", "%s", p.Message)
	case p.Unmanaged:
		return no(registryv1.ReasonUnmanaged, "pull secrets are not managed; tokens that were issued run out")
	default:
		return no(registryv1.ReasonAsExpected, "")
	}
}

func ingressVerdict(problems []string) verdict {
	if len(problems) > 0 {
		return yes(registryv1.ReasonRouteDegraded, "%s", strings.Join(problems, "\n"))
	}
	return no(registryv1.ReasonAsExpected, "")
}
