//go:build component

package operator

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/app"
	"image.alauda.io/registry/pkg/operator/apply"
)

var (
	monitoringKinds = map[string]string{"ServiceMonitor": "servicemonitors", "PodMonitor": "podmonitors", "PrometheusRule": "prometheusrules"}
	definitions     = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
)

func monitoringResource(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "monitoring.coreos.com", Version: "v1", Resource: resource}
}

// define installs the three kinds as small as they can be.
func (c *cluster) define() {
	c.t.Helper()
	for kind, plural := range monitoringKinds {
		definition := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
			"metadata": map[string]any{"name": plural + ".monitoring.coreos.com",
				"annotations": map[string]any{"api-approved.kubernetes.io": "unapproved, a test"}},
			"spec": map[string]any{
				"group": "monitoring.coreos.com", "scope": "Namespaced",
				"names": map[string]any{"kind": kind, "plural": plural},
				"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{
					"openAPIV3Schema": map[string]any{"type": "object", "properties": map[string]any{
						"spec": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}},
			},
		}}
		if _, err := c.dynamic.Resource(definitions).Create(c.t.Context(), definition, metav1.CreateOptions{}); err != nil {
			c.t.Fatalf("create the definition of %s: %v", kind, err)
		}
	}
}

// monitoringObject reads one object; nil when it or its kind does not exist.
func (c *cluster) monitoringObject(resource, name string) *unstructured.Unstructured {
	c.t.Helper()
	object, err := c.dynamic.Resource(monitoringResource(resource)).Namespace(ns).Get(c.t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		c.t.Fatalf("read %s %s: %v", resource, name, err)
	}
	return object
}

// monitored waits until exactly the given objects, as resource/name, exist.
func (c *cluster) monitored(want ...string) {
	c.t.Helper()
	c.eventually("monitoring objects "+strings.Join(want, " "), func() (bool, string) {
		var have []string
		for _, resource := range []string{"podmonitors", "prometheusrules", "servicemonitors"} {
			list, err := c.dynamic.Resource(monitoringResource(resource)).Namespace(ns).List(c.t.Context(), metav1.ListOptions{})
			if err != nil {
				return false, err.Error()
			}
			for _, object := range list.Items {
				have = append(have, resource+"/"+object.GetName())
			}
		}
		return strings.Join(have, " ") == strings.Join(want, " "), strings.Join(have, " ")
	})
}

// severe collects what is logged above info.
type severe struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *severe) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// about returns the collected lines that speak of monitoring.
func (s *severe) about() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for line := range strings.Lines(s.text.String()) {
		if strings.Contains(line, "monitor") || strings.Contains(line, "prometheus") {
			out = append(out, line)
		}
	}
	return out
}

// Behaviour 81: monitors and rules appear when their kinds do, come back when somebody takes them away, leave
// with the registry but for what tells of the operator, and without their kinds nothing is logged above info.
func TestMonitoringObjectsFollowTheirKinds(t *testing.T) {
	t.Parallel()
	log := &severe{}
	klog.LogToStderr(false)
	klog.SetOutputBySeverity("WARNING", log)
	t.Cleanup(func() { klog.LogToStderr(true); klog.SetOutputBySeverity("WARNING", os.Stderr) })

	c := install(t)
	c.operator(app.DefaultOptions().Lease, "", c.writes)
	c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
	if c.get(apply.Ref{Kind: "ConfigMap", Namespace: ns, Name: "image-registry-dashboard"}) != nil {
		t.Error("there is a dashboard before there is a registry")
	}
	c.edit(func(config *registryv1.Config) {
		config.Spec.ManagementState = registryv1.Managed
		config.Spec.Storage = registryv1.StorageSpec{EmptyDir: &registryv1.EmptyDirStorage{}}
	})
	c.exists(apply.Ref{Kind: "ConfigMap", Namespace: ns, Name: "image-registry-dashboard"})
	if lines := log.about(); len(lines) > 0 {
		t.Errorf("without the kinds, this was logged above info:\n%s", strings.Join(lines, ""))
	}

	c.define()
	all := []string{"podmonitors/node-ca", "prometheusrules/image-registry", "servicemonitors/image-api-server",
		"servicemonitors/image-registry", "servicemonitors/image-registry-operator"}
	c.monitored(all...)

	monitors := c.dynamic.Resource(monitoringResource("servicemonitors")).Namespace(ns)
	if err := monitors.Delete(t.Context(), "image-registry", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.monitored(all...)
	uid := c.monitoringObject("servicemonitors", "image-registry-operator").GetUID()

	c.edit(func(config *registryv1.Config) { config.Spec.ManagementState = registryv1.Removed })
	c.monitored("prometheusrules/image-registry", "servicemonitors/image-registry-operator")
	if c.monitoringObject("servicemonitors", "image-registry-operator").GetUID() != uid {
		t.Error("the monitor of the operator was made anew")
	}
	c.eventually("of the rules those about the operator stay", func() (bool, string) {
		groups, _, _ := unstructured.NestedSlice(c.monitoringObject("prometheusrules", "image-registry").Object, "spec", "groups")
		return len(groups) == 1, ""
	})
	c.eventually("the dashboard goes", func() (bool, string) {
		return c.get(apply.Ref{Kind: "ConfigMap", Namespace: ns, Name: "image-registry-dashboard"}) == nil, ""
	})

	// A kind that goes takes its objects along; that is nobody's error.
	for _, plural := range monitoringKinds {
		if err := c.dynamic.Resource(definitions).Delete(t.Context(), plural+".monitoring.coreos.com", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	c.eventually("the kinds go", func() (bool, string) {
		_, err := monitors.List(t.Context(), metav1.ListOptions{})
		return apierrors.IsNotFound(err), ""
	})
	if lines := log.about(); len(lines) > 0 {
		t.Errorf("this was logged above info:\n%s", strings.Join(lines, ""))
	}
}

// Behaviour 81: a monitor of our name that somebody else made is left alone, in every state.
func TestForeignMonitorsAreLeftAlone(t *testing.T) {
	t.Parallel()
	c := install(t)
	c.define()
	monitors := c.dynamic.Resource(monitoringResource("servicemonitors")).Namespace(ns)
	theirs := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor",
		"metadata": map[string]any{"name": "image-registry"}, "spec": map[string]any{"theirs": true}}}
	var created *unstructured.Unstructured
	c.eventually("the kind is served", func() (ok bool, saw string) {
		var err error
		if created, err = monitors.Create(t.Context(), theirs, metav1.CreateOptions{}); err != nil {
			return false, err.Error()
		}
		return true, ""
	})
	c.operator(app.DefaultOptions().Lease, "", c.writes)
	c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
	c.edit(func(config *registryv1.Config) {
		config.Spec.ManagementState = registryv1.Managed
		config.Spec.Storage = registryv1.StorageSpec{EmptyDir: &registryv1.EmptyDirStorage{}}
	})
	c.eventually("the other monitor", func() (bool, string) { return c.monitoringObject("servicemonitors", "image-api-server") != nil, "" })
	c.edit(func(config *registryv1.Config) { config.Spec.ManagementState = registryv1.Removed })
	c.eventually("the other monitor goes", func() (bool, string) { return c.monitoringObject("servicemonitors", "image-api-server") == nil, "" })
	after := c.monitoringObject("servicemonitors", "image-registry")
	if after == nil || after.GetResourceVersion() != created.GetResourceVersion() {
		t.Errorf("the foreign monitor was touched: %v", after)
	}
}

// Behaviour 25: an edited monitor is put back, a foreign label on it stays.
func TestEditedMonitorsArePutBack(t *testing.T) {
	t.Parallel()
	c := install(t)
	c.define()
	c.operator(app.DefaultOptions().Lease, "", c.writes)
	monitors := c.dynamic.Resource(monitoringResource("servicemonitors")).Namespace(ns)
	c.eventually("the monitor of the operator", func() (bool, string) {
		return c.monitoringObject("servicemonitors", "image-registry-operator") != nil, summary(c.config())
	})
	patch := []byte(`{"metadata":{"labels":{"team":"a"}},"spec":{"endpoints":[]}}`)
	if _, err := monitors.Patch(t.Context(), "image-registry-operator", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("the edit is undone", func() (bool, string) {
		object := c.monitoringObject("servicemonitors", "image-registry-operator")
		endpoints, _, _ := unstructured.NestedSlice(object.Object, "spec", "endpoints")
		return len(endpoints) == 1 && object.GetLabels()["team"] == "a", ""
	})
}
