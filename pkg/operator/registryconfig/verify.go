package registryconfig

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/pkg/operator/render"
)

// sound checks what the schema refuses, too: an object may be older than the schema, or have come from a restored
// backup. Nothing is applied from a spec that is not sound; what runs goes on.
func sound(spec registryv1.ConfigSpec) error {
	var errs []error
	check := func(ok bool, field string, value any, fix string) {
		if !ok {
			errs = append(errs, fault.Permanentf(registryv1.ReasonVerificationFailed, "spec.%s of Config cluster is %v; %s", field, value, fix))
		}
	}
	states := []registryv1.ManagementState{registryv1.Managed, registryv1.Unmanaged, registryv1.Removed}
	check(slices.Contains(states, spec.ManagementState), "managementState", quote(spec.ManagementState), "set it to Managed, Unmanaged or Removed")
	levels := []registryv1.LogLevel{"", registryv1.LogNormal, registryv1.LogDebug, registryv1.LogTrace, registryv1.LogTraceAll}
	check(slices.Contains(levels, spec.LogLevel), "logLevel", quote(spec.LogLevel), "set it to Normal, Debug, Trace or TraceAll")
	check(slices.Contains(levels, spec.OperatorLogLevel), "operatorLogLevel", quote(spec.OperatorLogLevel), "set it to Normal, Debug, Trace or TraceAll")
	check(spec.Replicas == nil || *spec.Replicas >= 0, "replicas", number(spec.Replicas), "set it to 0 or more")
	check(spec.ImageAPI.Replicas == nil || *spec.ImageAPI.Replicas >= 1, "imageAPI.replicas", number(spec.ImageAPI.Replicas), "set it to 1 or more")
	check(spec.Storage.EmptyDir == nil || spec.Replicas == nil || *spec.Replicas <= 1, "replicas", number(spec.Replicas),
		"set it to 1, because with storage.emptyDir each replica would have its own, different data")
	check(slices.Contains([]string{"", "RollingUpdate", "Recreate"}, spec.RolloutStrategy), "rolloutStrategy", quote(spec.RolloutStrategy), "leave it empty, or set it to RollingUpdate or Recreate")
	check(slices.Contains(append([]registryv1.ManagementState{""}, states[:2]...), spec.Storage.ManagementState), "storage.managementState",
		quote(spec.Storage.ManagementState), "set it to Managed or Unmanaged")
	check(slices.Contains([]registryv1.ImageStorageType{"", registryv1.ImageStorageCRD, registryv1.ImageStorageEtcd}, spec.ImageAPI.Storage.Type),
		"imageAPI.storage.type", quote(spec.ImageAPI.Storage.Type), "set it to CRD or Etcd")
	for _, limit := range []struct {
		field string
		value registryv1.RequestLimits
	}{{"requests.read", spec.Requests.Read}, {"requests.write", spec.Requests.Write}} {
		check(limit.value.MaxRunning >= 0, limit.field+".maxRunning", limit.value.MaxRunning, "set it to 0 or more")
		check(limit.value.MaxInQueue >= 0, limit.field+".maxInQueue", limit.value.MaxInQueue, "set it to 0 or more")
	}
	return errors.Join(errs...)
}

func quote[T ~string](value T) string { return fmt.Sprintf("%.80q", string(value)) }

func number(value *int32) string {
	if value == nil {
		return "unset"
	}
	return fmt.Sprint(*value)
}

// verify checks what the schema cannot.
func verify(c *Controller, config *registryv1.Config) error {
	overrides, err := render.ParseOverrides(config.Spec.UnsupportedConfigOverrides)
	if err != nil {
		return err
	}
	if len(overrides.Unknown) > 0 {
		c.Events("Warning", "UnknownConfigOverride", "spec.unsupportedConfigOverrides has keys without effect: "+strings.Join(overrides.Unknown, ", "))
	}
	return issuerFault(config.Spec.Auth.OIDC)
}

// issuerFault tells of an issuer that the registry does without. The schema refuses it in an object that is written
// now; one that is older goes on as it did.
func issuerFault(oidc registryv1.OIDCSpec) error {
	if oidc.IssuerURL == "" || strings.TrimSpace(oidc.ClientID) != "" {
		return nil
	}
	return fault.Permanentf(registryv1.ReasonVerificationFailed,
		"spec.auth.oidc.clientID of Config cluster is empty, so the registry takes no tokens of spec.auth.oidc.issuerURL; set it to the audience of the tokens, or clear issuerURL")
}

// aggregation is the name by which the image-api-server calls the fault, in the text with which it ends.
const aggregation = registryv1.ReasonAggregationLayerDisabled + ":"

// serverFault looks for the reason why no API server stays up that only the administrator of the cluster can
// change. It costs a request, so it is asked for only while no server is available.
func (c *Controller) serverFault(ctx context.Context) error {
	deployment := c.Applier.Cache.Get(c.inNamespace("Deployment", registryv1.ImageAPIName))
	if deployment == nil {
		return nil
	}
	if ready, err := c.apiServerReady(); err != nil || ready {
		return err
	}
	pods, err := c.Kube.CoreV1().Pods(c.Settings.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: labels.Set{registryv1.LabelName: registryv1.ImageAPIName}.String(),
	})
	if err != nil {
		return fmt.Errorf("list Pods of %s: %w", registryv1.ImageAPIName, err)
	}
	for i := range pods.Items {
		if aggregationDisabled(&pods.Items[i]) {
			return fault.Permanentf(registryv1.ReasonAggregationLayerDisabled,
				"image-api-server ends because the aggregation layer of the cluster is off; start kube-apiserver with --requestheader-client-ca-file and the flags that belong to it")
		}
	}
	return nil
}

// aggregationDisabled reads the text with which a container ended.
func aggregationDisabled(pod *corev1.Pod) bool {
	for _, status := range pod.Status.ContainerStatuses {
		for _, state := range []corev1.ContainerState{status.State, status.LastTerminationState} {
			if state.Terminated != nil && state.Terminated.ExitCode != 0 && strings.Contains(state.Terminated.Message, aggregation) {
				return true
			}
		}
	}
	return false
}
