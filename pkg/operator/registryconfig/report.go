package registryconfig

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/conditions"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/pkg/operator/storage"
)

// pullSecretsInterval is the shortest time between two writes of the numbers of pull secrets.
const pullSecretsInterval = 30 * time.Second

// workloads are what the status counts and remembers.
type workloads struct {
	registry, apiServer *appsv1.Deployment
	nodeCA              *appsv1.DaemonSet
	pruner              *batchv1.CronJob
	apiService          *unstructured.Unstructured
}

func (c *Controller) workloads(ctx context.Context) (w workloads, err error) {
	if w.registry, err = live[appsv1.Deployment](ctx, c, "Deployment", registryv1.RegistryName); err != nil {
		return w, err
	}
	if w.apiServer, err = live[appsv1.Deployment](ctx, c, "Deployment", registryv1.ImageAPIName); err != nil {
		return w, err
	}
	if w.nodeCA, err = live[appsv1.DaemonSet](ctx, c, "DaemonSet", registryv1.NodeCAName); err != nil {
		return w, err
	}
	if w.pruner, err = live[batchv1.CronJob](ctx, c, "CronJob", registryv1.PrunerName); err != nil {
		return w, err
	}
	w.apiService = c.Applier.Cache.Get(apply.Ref{Kind: "APIService", Name: apiServiceName})
	return w, nil
}

// report computes conditions and status and writes them if there is news. It returns when the next look is
// due.
func (c *Controller) report(ctx context.Context, config *registryv1.Config, out outcome) (time.Duration, error) {
	return c.reportWith(ctx, config, out, func(ctx context.Context, next *registryv1.Config) error {
		_, err := c.Configs.UpdateStatus(ctx, next, metav1.UpdateOptions{FieldManager: registryv1.OperatorName})
		return err
	})
}

func (c *Controller) reportWith(ctx context.Context, config *registryv1.Config, out outcome, write func(context.Context, *registryv1.Config) error) (time.Duration, error) {
	w, err := c.workloads(ctx)
	if err != nil {
		return 0, err
	}
	if config.Spec.ManagementState == registryv1.Managed {
		out.records = c.records(ctx, c.imagePlace(w))
	}
	out.trouble = c.trouble(ctx, config, w)
	out.pullSecrets, out.certificates = c.PullSecrets(), c.Certificates()
	out.certificates.NotAfter = c.withEtcdCertificate(config, out.certificates.NotAfter)
	classes := fault.Sort(out.err)
	now := c.Clock.Now()
	c.memory.failingSince = since(c.memory.failingSince, len(classes.Transient) > 0, now)
	c.memory.nodeFailingSince = since(c.memory.nodeFailingSince, out.nodeErr != nil, now)

	in := c.conditionInput(config, out, classes, w, now)
	status := c.status(config, out, classes, w, conditions.Compute(in))
	c.Metrics.report(status)
	if !equality.Semantic.DeepEqual(config.Status, status) {
		next := config.DeepCopy()
		next.Status = status
		if err := write(ctx, next); err != nil {
			return 0, fmt.Errorf("write status of Config %s: %w", config.Name, err)
		}
		c.tellChange(config, status)
	}
	again := c.nextLook(classes, in)
	if count := out.pullSecrets.Count; count != status.PullSecrets || count.Ready < count.Desired {
		again = min(again, pullSecretsInterval) // no event tells of the next numbers
	}
	return again, nil
}

// since starts, keeps or ends a run of failures.
func since(before time.Time, failing bool, now time.Time) time.Time {
	switch {
	case !failing:
		return time.Time{}
	case before.IsZero():
		return now
	default:
		return before
	}
}

func (c *Controller) nextLook(classes fault.Classes, in conditions.Input) time.Duration {
	switch {
	case len(classes.Waiting) > 0:
		return waitingRetry
	case len(classes.Permanent) > 0:
		return permanentRetry
	case in.State == registryv1.Managed && conditions.DependsOnTime(in):
		return graceRetry
	default:
		return resync
	}
}

func (c *Controller) conditionInput(config *registryv1.Config, out outcome, classes fault.Classes, w workloads, now time.Time) conditions.Input {
	in := conditions.Input{
		Now: now, State: config.Spec.ManagementState, Previous: config.Status.Conditions,
		Replicas: registryv1.DefaultReplicas, Registry: w.registry, APIServer: w.apiServer, NodeCA: w.nodeCA,
		Faults: classes, FailingSince: c.memory.failingSince,
		Storage:      out.storage,
		StorageReady: out.ready,
		Certificates: out.certificates.Health,
		PullSecrets:  out.pullSecrets.Health,
	}
	if config.DeletionTimestamp != nil {
		in.State = registryv1.Removed
	}
	if config.Spec.Replicas != nil {
		in.Replicas = *config.Spec.Replicas
	}
	if in.State == registryv1.Managed {
		in.Records = out.records
	}
	in.RegistryTrouble, in.APIServerTrouble = out.trouble[registryv1.RegistryName], out.trouble[registryv1.ImageAPIName]
	in.NodeCATrouble = out.trouble[registryv1.NodeCAName]
	in.APIServiceAvailable, in.APIServiceMessage = apiServiceState(w.apiService)
	in.Removal.Done = out.removal.done
	in.Removal.Failed = in.State == registryv1.Removed && (len(classes.Permanent) > 0 || len(classes.Transient) > 0)
	if len(classes.Waiting) > 0 {
		in.Removal.Waiting = classes.Waiting[0].For
	}
	if out.nodeErr != nil {
		in.NodeTrust = conditions.Controller{FailingSince: c.memory.nodeFailingSince, Message: out.nodeErr.Error()}
	}
	if in.State == registryv1.Managed {
		if out.exposure == nil {
			out.exposure = previousExposure(config)
		}
		in.Routes = out.exposure.problems
	}
	if in.State == registryv1.Unmanaged {
		in.Storage, in.StorageReady = previousExistence(config.Status.Conditions), previousReady(config.Status.Conditions)
	}
	in.PrivilegedForbidden = c.privilegedForbidden()
	return in
}

// previousExistence repeats what was known before the registry became Unmanaged.
func previousExistence(previous []registryv1.OperatorCondition) storage.Existence {
	for _, condition := range previous {
		if condition.Type == registryv1.ConditionStorageExists {
			return storage.Existence{Status: condition.Status, Reason: condition.Reason, Message: condition.Message}
		}
	}
	return storage.Existence{}
}

func (c *Controller) privilegedForbidden() bool {
	namespace, err := c.listers.namespaces.Get(c.Settings.Namespace)
	if err != nil {
		return false
	}
	level := namespace.Labels["pod-security.kubernetes.io/enforce"]
	return level != "" && level != "privileged"
}

func apiServiceState(object *unstructured.Unstructured) (bool, string) {
	if object == nil {
		return false, "it is not registered yet"
	}
	found, _, err := unstructured.NestedSlice(object.Object, "status", "conditions")
	if err != nil {
		return false, "its status cannot be read"
	}
	for _, entry := range found {
		condition, _ := entry.(map[string]any)
		if condition["type"] == "Available" {
			message, _ := condition["message"].(string)
			return condition["status"] == string(corev1.ConditionTrue), message
		}
	}
	return false, "it has not been probed yet"
}

func (c *Controller) tellChange(config *registryv1.Config, status registryv1.ConfigStatus) {
	was, is := conditionStatus(config.Status.Conditions, registryv1.ConditionRemoved), conditionStatus(status.Conditions, registryv1.ConditionRemoved)
	if was != "" && was != is {
		c.Events(corev1.EventTypeNormal, "ManagementStateChanged", fmt.Sprintf("the registry is now %s", config.Spec.ManagementState))
	}
	if status.Version != config.Status.Version && config.Spec.ManagementState == registryv1.Managed {
		c.Events(corev1.EventTypeNormal, "RolledOut", "version "+status.Version+" of the registry is rolled out")
	}
}

func conditionStatus(list []registryv1.OperatorCondition, kind string) registryv1.ConditionStatus {
	for _, condition := range list {
		if condition.Type == kind {
			return condition.Status
		}
	}
	return ""
}
