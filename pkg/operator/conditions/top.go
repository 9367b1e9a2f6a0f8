package conditions

import (
	"fmt"
	"strings"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

// verdict is a condition without its type and time.
type verdict struct {
	status  registryv1.ConditionStatus
	reason  string
	message string
}

// rule is one row of a table: if holds, then verdict.
type rule struct {
	holds bool
	verdict
}

func first(rules []rule) verdict {
	for _, r := range rules {
		if r.holds {
			return r.verdict
		}
	}
	return verdict{registryv1.ConditionUnknown, registryv1.ReasonUnknownError, "no rule holds"}
}

func yes(reason, format string, args ...any) verdict {
	return verdict{registryv1.ConditionTrue, reason, fmt.Sprintf(format, args...)}
}

func no(reason, format string, args ...any) verdict {
	return verdict{registryv1.ConditionFalse, reason, fmt.Sprintf(format, args...)}
}

func availableVerdict(in Input) verdict {
	permanent := len(in.Faults.Permanent) > 0
	var reason, text string
	if permanent {
		reason, text = in.Faults.Permanent[0].Reason, in.Faults.Permanent[0].Message
	}
	removed := in.State == registryv1.Removed
	nodes, trusted := nodeNumbers(in)
	return first([]rule{
		{in.State == registryv1.Unmanaged, yes(registryv1.ReasonUnmanaged, "the registry is not managed by the operator")},
		{removed && in.Registry == nil && in.APIServer == nil, yes(registryv1.ReasonRemoved, "the registry is removed, as asked for")},
		{removed, no(registryv1.ReasonRemoving, "the registry is being removed")},
		{in.Registry == nil && permanent, no(reason, "%s", text)},
		{in.Registry == nil, no(registryv1.ReasonDeploymentNotFound, "Deployment image-registry does not exist yet")},
		{in.Registry != nil && in.Registry.DeletionTimestamp != nil, no(registryv1.ReasonDeploymentDeleted, "Deployment image-registry is being deleted")},
		{in.Replicas == 0, no(registryv1.ReasonScaledToZero, "spec.replicas of Config cluster is 0")},
		{available(in.Registry) == 0, no(registryv1.ReasonNoReplicasAvailable, "Deployment image-registry has no available Pod%s", because(in.RegistryTrouble))},
		{available(in.APIServer) == 0, no(registryv1.ReasonImageAPIServerUnavailable, "Deployment image-api-server has no available Pod%s", because(in.APIServerTrouble))},
		{!in.APIServiceAvailable, no(registryv1.ReasonImageAPIServerUnavailable, "%s", apiServiceMessage(in))},
		{nodes > 0 && trusted == 0, no(registryv1.ReasonNodeCAUnavailable, "DaemonSet node-ca has no available Pod%s", because(in.NodeCATrouble))},
		{partly(in), yes(registryv1.ReasonMinimumAvailability, "the registry serves with fewer Pods than asked for")},
		{true, yes(registryv1.ReasonReady, "the registry is ready")},
	})
}

func because(trouble string) string {
	if trouble == "" {
		return ""
	}
	return ": " + trouble
}

func apiServiceMessage(in Input) string {
	if in.APIServiceMessage == "" {
		return "APIService v1.image.alauda.io is not available"
	}
	return "APIService v1.image.alauda.io is not available: " + in.APIServiceMessage
}

func nodeNumbers(in Input) (desired, available int32) {
	if in.NodeCA == nil {
		return 0, 0
	}
	return in.NodeCA.Status.DesiredNumberScheduled, in.NodeCA.Status.NumberAvailable
}

func partly(in Input) bool {
	return available(in.Registry) < wanted(in.Registry) || available(in.APIServer) < wanted(in.APIServer)
}

func progressingVerdict(in Input) verdict {
	removed := in.State == registryv1.Removed
	registry, apiServer := in.Registry, in.APIServer
	return first([]rule{
		{in.State == registryv1.Unmanaged, no(registryv1.ReasonUnmanaged, "the registry is not managed by the operator")},
		{removed && !in.Removal.Done, yes(registryv1.ReasonRemoving, "%s", removalMessage(in))},
		{removed, no(registryv1.ReasonRemoved, "everything is removed")},
		{len(in.Faults.Permanent) > 0, no(registryv1.ReasonError, "%s", findings(in))},
		{len(in.Faults.Transient) > 0, yes(registryv1.ReasonError, "%s", findings(in))},
		{registry == nil, yes(registryv1.ReasonWaitingForDeployment, "%s", waiting(in, "Deployment image-registry does not exist yet"))},
		{registry != nil && registry.DeletionTimestamp != nil, yes(registryv1.ReasonFinalizingDeployment, "Deployment image-registry is being deleted")},
		{registry != nil && !RolledOut(registry), yes(registryv1.ReasonDeploymentNotCompleted, "the rollout of Deployment image-registry is not complete%s", because(in.RegistryTrouble))},
		{apiServer == nil, yes(registryv1.ReasonDeploymentNotCompleted, "%s", waiting(in, "Deployment image-api-server does not exist yet"))},
		{apiServer != nil && !RolledOut(apiServer), yes(registryv1.ReasonDeploymentNotCompleted, "the rollout of Deployment image-api-server is not complete%s", because(in.APIServerTrouble))},
		{len(in.Faults.Waiting) > 0, yes(registryv1.ReasonDeploymentNotCompleted, "%s", waiting(in, ""))},
		{nodesUpdating(in), yes(registryv1.ReasonNodeCAUpdating, "DaemonSet node-ca is being updated on the nodes")},
		{true, no(registryv1.ReasonReady, "everything is as wanted")},
	})
}

func removalMessage(in Input) string {
	if in.Removal.Waiting == "" {
		return "the registry is being removed"
	}
	return "the registry is being removed: waiting for " + in.Removal.Waiting
}

func waiting(in Input, otherwise string) string {
	if len(in.Faults.Waiting) == 0 {
		return otherwise
	}
	var lines []string
	for _, w := range in.Faults.Waiting {
		lines = append(lines, "operator: waiting for "+w.For)
	}
	return strings.Join(lines, "\n")
}

func nodesUpdating(in Input) bool {
	if in.NodeCA == nil {
		return false
	}
	s := in.NodeCA.Status
	return s.ObservedGeneration < in.NodeCA.Generation || s.UpdatedNumberScheduled < s.DesiredNumberScheduled || s.NumberMisscheduled > 0
}

// findings joins every fault to one sentence each.
func findings(in Input) string {
	var lines []string
	for _, p := range in.Faults.Permanent {
		lines = append(lines, "operator: "+p.Message)
	}
	for _, err := range in.Faults.Transient {
		lines = append(lines, "operator: "+err.Error())
	}
	return strings.Join(lines, "\n")
}

func degradedVerdict(in Input) verdict {
	removed := in.State == registryv1.Removed
	old := func(c Controller) bool { return !c.FailingSince.IsZero() && in.Now.Sub(c.FailingSince) >= failingGrace }
	failing := !in.FailingSince.IsZero() && in.Now.Sub(in.FailingSince) >= failingGrace
	var rules []rule
	add := func(holds bool, v verdict) { rules = append(rules, rule{holds, v}) }
	add(in.State == registryv1.Unmanaged, no(registryv1.ReasonUnmanaged, "the registry is not managed by the operator"))
	add(removed && in.Removal.Failed, yes(registryv1.ReasonRemoveFailed, "%s", findings(in)))
	for _, p := range in.Faults.Permanent {
		add(true, yes(p.Reason, "operator: %s", p.Message))
	}
	add(removed, no(registryv1.ReasonRemoved, "the registry is removed, as asked for"))
	if problem := in.Certificates.Problem; problem != nil {
		add(true, yes(problem.Reason, "certificates: %s", problem.Message))
	}
	add(unavailableTooLong(in), yes(registryv1.ReasonUnavailable, "registry: not available for more than 5 minutes; see condition Available%s", because(in.RegistryTrouble)))
	add(overdue(in.Registry), yes(registryv1.ReasonProgressDeadlineExceeded, "registry: the rollout of Deployment image-registry takes too long%s", because(in.RegistryTrouble)))
	add(overdue(in.APIServer), yes(registryv1.ReasonProgressDeadlineExceeded, "image-api-server: the rollout of Deployment image-api-server takes too long%s", because(in.APIServerTrouble)))
	add(failing, yes(registryv1.ReasonSyncError, "%s", findings(in)))
	add(old(in.Certificates), yes(registryv1.ReasonCertificatesSyncError, "certificates: %s", in.Certificates.Message))
	add(old(in.NodeTrust), yes(registryv1.ReasonNodeCASyncError, "node-ca: %s", in.NodeTrust.Message))
	add(in.PullSecrets.Degraded, yes(registryv1.ReasonPullSecretSyncError, "pull secrets: %s", in.PullSecrets.Message))
	for _, problem := range in.Routes {
		add(true, yes(registryv1.ReasonRouteDegraded, "ingress: %s", problem))
	}
	add(true, no(registryv1.ReasonAsExpected, "everything is as expected"))
	return withOthers(rules)
}

// withOthers takes the first rule that holds and appends the messages of the other findings.
func withOthers(rules []rule) verdict {
	result := first(rules)
	if result.status != registryv1.ConditionTrue {
		return result
	}
	lines := []string{}
	for _, r := range rules {
		if r.holds && r.status == registryv1.ConditionTrue && r.message != "" && !contains(lines, r.message) {
			lines = append(lines, r.message)
		}
	}
	result.message = strings.Join(lines, "\n")
	return result
}

func contains(lines []string, line string) bool {
	for _, have := range lines {
		if have == line {
			return true
		}
	}
	return false
}

// unavailableTooLong looks at the stored transition time, so that a restart of the operator does not start
// the grace anew.
func unavailableTooLong(in Input) bool {
	if in.State != registryv1.Managed || availableVerdict(in).status != registryv1.ConditionFalse {
		return false
	}
	for _, previous := range in.Previous {
		if previous.Type == registryv1.ConditionAvailable {
			return previous.Status == registryv1.ConditionFalse && in.Now.Sub(previous.LastTransitionTime.Time) > unavailableGrace
		}
	}
	return false
}
