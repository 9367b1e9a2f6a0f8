package render

import (
	"bytes"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/manifests"
)

const (
	// DashboardConfigMap is read by the sidecar of Grafana, which finds it by its label.
	DashboardConfigMap = "image-registry-dashboard"
	dashboardFile      = "image-registry-dashboard.json"
	dashboardLabel     = "grafana_dashboard"
	// operatorRules is the group of rules about the operator itself.
	operatorRules = "image-registry.operator"
)

// Monitoring returns the monitors and the rules of the Prometheus Operator. Without the operands only what
// tells of the operator is left: a registry that is Removed must not alarm anybody.
func Monitoring(s Settings, operands bool) ([]*unstructured.Unstructured, error) {
	files := []string{"operator-monitor.yaml", "rules.yaml"}
	if operands {
		files = append(files, "monitors.yaml")
	}
	objects, err := s.several(manifests.Shared, files...)
	if err != nil || operands {
		return objects, err
	}
	for _, object := range objects {
		if err := keepOperatorRules(object); err != nil {
			return nil, err
		}
	}
	return objects, nil
}

func keepOperatorRules(object *unstructured.Unstructured) error {
	if object.GetKind() != "PrometheusRule" {
		return nil
	}
	groups, _, err := unstructured.NestedSlice(object.Object, "spec", "groups")
	if err != nil {
		return fmt.Errorf("PrometheusRule %s: %w", object.GetName(), err)
	}
	var kept []any
	for _, group := range groups {
		if fields, ok := group.(map[string]any); ok && fields["name"] == operatorRules {
			kept = append(kept, group)
		}
	}
	if len(kept) == 0 {
		return fmt.Errorf("PrometheusRule %s has no group %s", object.GetName(), operatorRules)
	}
	return unstructured.SetNestedSlice(object.Object, kept, "spec", "groups")
}

// Dashboard is the ConfigMap with the dashboard for Grafana.
func Dashboard(s Settings) (*unstructured.Unstructured, error) {
	data, err := manifests.Operand(manifests.Shared, dashboardFile)
	if err != nil {
		return nil, err
	}
	data = bytes.ReplaceAll(data, []byte(registryv1.DefaultNamespace), []byte(s.Namespace))
	object := s.newObject("v1", "ConfigMap", DashboardConfigMap, "monitoring")
	labels := object.GetLabels()
	labels[dashboardLabel] = "1"
	object.SetLabels(labels)
	if err := unstructured.SetNestedField(object.Object, string(data), "data", dashboardFile); err != nil {
		return nil, fmt.Errorf("ConfigMap %s: %w", DashboardConfigMap, err)
	}
	return object, nil
}
