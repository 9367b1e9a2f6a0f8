//go:build component

package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
)

var (
	configs = schema.GroupVersionResource{Group: registryv1.SchemeGroupVersion.Group, Version: "v1", Resource: "configs"}
	pruners = schema.GroupVersionResource{Group: registryv1.SchemeGroupVersion.Group, Version: "v1", Resource: "imagepruners"}
	// chance is what differs from run to run although nothing is different: certificates, addresses, hashes of
	// random keys.
	chance = regexp.MustCompile(`(?s)-----BEGIN CERTIFICATE-----.*-----END CERTIFICATE-----|198\.18\.2[45][0-9]\.[0-9]+|[0-9a-f]{64}|[0-9a-f]{16}=20[0-9TZ:-]+`)
)

// snapshot is everything that the operator has made, in a form that is the same for the same outcome.
type snapshot map[string]string

// snap reads the whole state. It returns nil while the API server is busy with something that is going.
func (c *cluster) snap() (snapshot, error) {
	ctx := c.t.Context()
	out := snapshot{}
	for _, kind := range apply.Kinds() {
		list, err := c.dynamic.Resource(kind.GVR()).List(ctx, metav1.ListOptions{LabelSelector: registryv1.LabelManagedBy + "=" + registryv1.OperatorName})
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			out.add(&list.Items[i])
		}
	}
	claims, err := c.dynamic.Resource(corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims")).Namespace(ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for i := range claims.Items {
		out.add(&claims.Items[i])
	}
	for _, resource := range []schema.GroupVersionResource{configs, pruners} {
		object, err := c.dynamic.Resource(resource).Get(ctx, registryv1.SingletonName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		plainStatus(object)
		out.add(object)
	}
	return out, nil
}

func (s snapshot) add(object *unstructured.Unstructured) {
	name := apply.Describe(object)
	fields := object.DeepCopy()
	metadata, _ := fields.Object["metadata"].(map[string]any)
	for key := range metadata {
		if !slices.Contains([]string{"name", "namespace", "labels", "annotations", "finalizers", "deletionTimestamp"}, key) {
			delete(metadata, key)
		}
	}
	for _, path := range [][]string{
		{"spec", "clusterIP"}, {"spec", "clusterIPs"}, {"spec", "caBundle"}, {"spec", "healthCheckNodePort"}, {"metadata", "annotations", registryv1.TokenExpiresAtAnnotation},
	} {
		unstructured.RemoveNestedField(fields.Object, path...)
	}
	if object.GetKind() != "Config" && object.GetKind() != "ImagePruner" {
		delete(fields.Object, "status")
	}
	if object.GetKind() == "Secret" {
		data, _ := fields.Object["data"].(map[string]any)
		fields.Object["data"] = slices.Sorted(maps.Keys(data))
		fields.SetAnnotations(nil) // of pull secrets and of certificates: times and hashes
	}
	if webhooks, ok := fields.Object["webhooks"].([]any); ok {
		for _, webhook := range webhooks {
			if entry, ok := webhook.(map[string]any); ok {
				unstructured.RemoveNestedField(entry, "clientConfig", "caBundle")
			}
		}
	}
	text, err := json.Marshal(fields.Object)
	if err != nil {
		text = []byte(err.Error())
	}
	s[name] = chance.ReplaceAllString(string(text), "…")
}

// plainStatus drops times, counters, and the texts of conditions.
func plainStatus(object *unstructured.Unstructured) {
	status, _ := object.Object["status"].(map[string]any)
	for _, key := range []string{"pullSecrets", "observedGeneration"} {
		delete(status, key)
	}
	for list, dropped := range map[string][]string{
		"conditions": {"lastTransitionTime", "message"}, "certificates": {"notAfter"}, "generations": {"lastGeneration", "hash"},
	} {
		entries, _ := status[list].([]any)
		for _, entry := range entries {
			fields, _ := entry.(map[string]any)
			for _, key := range dropped {
				delete(fields, key)
			}
		}
	}
}

// difference names the first object, in the order of names, that is not the same.
func (s snapshot) difference(other snapshot) string {
	names := slices.Sorted(maps.Keys(s))
	for _, name := range names {
		if other[name] == "" {
			return name + " is missing"
		}
		if s[name] != other[name] {
			return fmt.Sprintf("%s: want\n%s\ngot\n%s", name, s[name], other[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(other)) {
		if s[name] == "" {
			return name + " should not be there"
		}
	}
	return ""
}

// stable waits until nothing has changed for a while, and returns what is there then.
func (c *cluster) stable() snapshot {
	c.t.Helper()
	var last snapshot
	since := time.Now()
	c.eventually("the cluster comes to rest", func() (bool, string) {
		now, err := c.snap()
		if err != nil {
			return false, err.Error()
		}
		difference := "nothing was seen yet"
		if last != nil {
			difference = last.difference(now)
		}
		if last, difference = now, strings.TrimSpace(difference); difference != "" {
			since = time.Now()
		}
		return time.Since(since) > 2500*time.Millisecond, difference
	})
	return last
}

// reaches waits until the state is the wanted one, or until the channel is closed; false in the latter case.
func (c *cluster) reaches(what string, want snapshot, ended <-chan struct{}) bool {
	c.t.Helper()
	reached := false
	c.eventually(what, func() (bool, string) {
		select {
		case <-ended:
			return true, ""
		default:
		}
		now, err := c.snap()
		if err != nil {
			return false, err.Error()
		}
		difference := want.difference(now)
		reached = difference == ""
		return reached, difference + "\n" + summary(c.config())
	})
	return reached
}

// playWorkloads reports, as kube-controller-manager and the Pods would, that every workload has followed, until
// ctx ends. There are no nodes.
func (c *cluster) playWorkloads(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		daemon, err := c.kube.AppsV1().DaemonSets(ns).Get(ctx, registryv1.NodeCAName, metav1.GetOptions{})
		if err == nil && daemon.Status.ObservedGeneration != daemon.Generation {
			daemon.Status.ObservedGeneration = daemon.Generation
			_, _ = c.kube.AppsV1().DaemonSets(ns).UpdateStatus(ctx, daemon, metav1.UpdateOptions{})
		}
		for _, name := range []string{registryv1.RegistryName, registryv1.ImageAPIName} {
			deployment, err := c.kube.AppsV1().Deployments(ns).Get(ctx, name, metav1.GetOptions{})
			if err == nil && deployment.Status.ObservedGeneration != deployment.Generation {
				deployment.Status = rolledOut(deployment)
				_, _ = c.kube.AppsV1().Deployments(ns).UpdateStatus(ctx, deployment, metav1.UpdateOptions{})
			}
		}
	}
}

// rolledOut is the status of a Deployment whose Pods are all there.
func rolledOut(deployment *appsv1.Deployment) appsv1.DeploymentStatus {
	n := *deployment.Spec.Replicas
	return appsv1.DeploymentStatus{
		ObservedGeneration: deployment.Generation, Replicas: n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n,
		Conditions: []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: "NewReplicaSetAvailable"}},
	}
}
