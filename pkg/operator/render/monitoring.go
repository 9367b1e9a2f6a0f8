package render

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"strings"

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
	// alertPlaceholder stands for the name of an alert in the address of its page.
	alertPlaceholder = "{alert}"
)

// Monitoring returns the monitors and the rules of the Prometheus Operator. Without the operands only what
// tells of the operator is left: a registry that is Removed must not alarm anybody.
func Monitoring(s Settings, operands bool) ([]*unstructured.Unstructured, error) {
	files := []string{"operator-monitor.yaml", "rules.yaml"}
	if operands {
		files = append(files, "monitors.yaml")
	}
	objects, err := s.several(manifests.Shared, files...)
	if err != nil {
		return nil, err
	}
	for _, object := range objects {
		if object.GetKind() != "PrometheusRule" {
			continue
		}
		if err := s.fillRunbooks(object); err != nil {
			return nil, err
		}
		if operands {
			continue
		}
		if err := keepOperatorRules(object); err != nil {
			return nil, err
		}
	}
	return objects, nil
}

// ParseRunbookURL checks the address of the pages about alerts; empty is none.
func ParseRunbookURL(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	parsed, err := url.Parse(text)
	if err != nil || parsed.Host == "" || parsed.User != nil || parsed.Scheme != "http" && parsed.Scheme != "https" {
		return "", errors.New("it must be an http or https URL without credentials, with {alert} for the name of the alert or the folder of the pages")
	}
	return text, nil
}

// fillRunbooks lets every alert name its page at the address that was set.
func (s Settings) fillRunbooks(object *unstructured.Unstructured) error {
	if s.RunbookURL == "" {
		return nil
	}
	groups, _, err := unstructured.NestedSlice(object.Object, "spec", "groups")
	if err != nil {
		return fmt.Errorf("PrometheusRule %s: %w", object.GetName(), err)
	}
	for _, group := range groups {
		fields, _ := group.(map[string]any)
		rules, _ := fields["rules"].([]any)
		for _, rule := range rules {
			fields, _ := rule.(map[string]any)
			alert, _ := fields["alert"].(string)
			if annotations, ok := fields["annotations"].(map[string]any); ok && alert != "" {
				annotations["runbook_url"] = runbook(s.RunbookURL, alert)
			}
		}
	}
	return unstructured.SetNestedSlice(object.Object, groups, "spec", "groups")
}

func runbook(address, alert string) string {
	if strings.Contains(address, alertPlaceholder) {
		return strings.ReplaceAll(address, alertPlaceholder, alert)
	}
	return strings.TrimSuffix(address, "/") + "/" + alert + ".md"
}

func keepOperatorRules(object *unstructured.Unstructured) error {
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
