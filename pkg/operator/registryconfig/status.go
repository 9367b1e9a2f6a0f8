package registryconfig

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/conditions"
	"image.alauda.io/registry/pkg/operator/fault"
)

// status is the whole new status. Fields that this sync learned nothing about keep their value.
func (c *Controller) status(config *registryv1.Config, out outcome, classes fault.Classes, w workloads, list []registryv1.OperatorCondition) registryv1.ConfigStatus {
	status := *config.Status.DeepCopy()
	status.Conditions = list
	if len(classes.Transient) == 0 {
		status.ObservedGeneration = config.Generation
	}
	status.ReadyReplicas = 0
	if w.registry != nil {
		status.ReadyReplicas = w.registry.Status.ReadyReplicas
	}
	status.NodeCA = registryv1.ReadyCount{}
	if w.nodeCA != nil {
		status.NodeCA = registryv1.ReadyCount{Desired: w.nodeCA.Status.DesiredNumberScheduled, Ready: w.nodeCA.Status.NumberReady}
	}
	status.Certificates = out.certificates.NotAfter
	status.Generations = generations(w)
	status.LastPrune = c.lastPrune()
	if out.exposure != nil {
		status.ExternalRegistryHostnames = out.exposure.hosts
	}
	c.countPullSecrets(&status, out.pullSecrets.Count)
	switch {
	case out.removal.done:
		status.Storage, status.StorageManaged = nil, false
		status.InternalRegistryHostname, status.ExternalRegistryHostnames = "", nil
		status.Replicas, status.ReplicasReason, status.RolloutStrategy = 0, "", ""
		status.Version = c.Settings.Version
	case out.plan != nil:
		status.Storage = out.plan.Effective.DeepCopy()
		status.StorageManaged = out.plan.Effective.ManagementState == registryv1.Managed
		status.Replicas, status.ReplicasReason = out.plan.Replicas, out.plan.ReplicasReason
		status.RolloutStrategy = out.plan.Strategy
		status.InternalRegistryHostname = c.Settings.InternalHost()
	}
	if place := c.imagePlace(w); place != "" {
		status.ImageAPIStorage = place
	}
	if c.rolledOut(w) {
		status.Version = c.Settings.Version
	}
	return status
}

// lastPrune is the last run of the pruner in short, nil while there was none.
func (c *Controller) lastPrune() *registryv1.LastPruneStatus {
	object, exists, err := c.PrunerInformer.GetStore().GetByKey(registryv1.SingletonName)
	pruner, ok := object.(*registryv1.ImagePruner)
	if err != nil || !exists || !ok || pruner.Status.LastRun == nil {
		return nil
	}
	run := pruner.Status.LastRun
	return &registryv1.LastPruneStatus{CompletionTime: run.CompletionTime.DeepCopy(), Result: run.Result}
}

// rolledOut says whether both Deployments run this version and nothing else.
func (c *Controller) rolledOut(w workloads) bool {
	if w.registry == nil || w.apiServer == nil {
		return false
	}
	return conditions.RolledOut(w.registry) && conditions.RolledOut(w.apiServer) &&
		w.registry.Annotations[registryv1.VersionAnnotation] == c.Settings.Version &&
		w.apiServer.Annotations[registryv1.VersionAnnotation] == c.Settings.Version
}

// countPullSecrets takes over new numbers at most every half minute: they move with every namespace that
// comes and goes.
func (c *Controller) countPullSecrets(status *registryv1.ConfigStatus, count registryv1.ReadyCount) {
	now := c.Clock.Now()
	if count == status.PullSecrets || now.Sub(c.memory.pullSecretsWritten) < pullSecretsInterval {
		return
	}
	c.memory.pullSecretsWritten = now
	status.PullSecrets = count
}

func generations(w workloads) []registryv1.GenerationStatus {
	var out []registryv1.GenerationStatus
	add := func(group, resource string, meta metav1.ObjectMeta, hash string) {
		out = append(out, registryv1.GenerationStatus{
			Group: group, Resource: resource, Namespace: meta.Namespace, Name: meta.Name,
			LastGeneration: meta.Generation, Hash: hash,
		})
	}
	if w.apiServer != nil {
		add("apps", "deployments", w.apiServer.ObjectMeta, w.apiServer.Spec.Template.Annotations[registryv1.DependenciesChecksumAnnotation])
	}
	if w.registry != nil {
		add("apps", "deployments", w.registry.ObjectMeta, w.registry.Spec.Template.Annotations[registryv1.DependenciesChecksumAnnotation])
	}
	if w.nodeCA != nil {
		add("apps", "daemonsets", w.nodeCA.ObjectMeta, "")
	}
	if w.pruner != nil {
		add("batch", "cronjobs", w.pruner.ObjectMeta, "")
	}
	return out
}
