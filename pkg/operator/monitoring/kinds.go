package monitoring

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	group   = "monitoring.coreos.com"
	version = "v1"
)

// definitions is where the kinds are defined.
var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// kind is one kind of the Prometheus Operator.
type kind struct{ name, resource string }

// kinds are those that the manifests use.
func kinds() []kind {
	return []kind{
		{"ServiceMonitor", "servicemonitors"},
		{"PodMonitor", "podmonitors"},
		{"PrometheusRule", "prometheusrules"},
	}
}

func (k kind) definition() string { return k.resource + "." + group }

func (k kind) resourceVersion() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: version, Resource: k.resource}
}

// served says of a definition whether its objects can be read and written in our version.
func served(definition *unstructured.Unstructured) bool {
	if definition == nil || definition.GetDeletionTimestamp() != nil {
		return false
	}
	return established(definition) && serves(definition)
}

func established(definition *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(definition.Object, "status", "conditions")
	for _, entry := range conditions {
		condition, ok := entry.(map[string]any)
		if ok && condition["type"] == "Established" && condition["status"] == "True" {
			return true
		}
	}
	return false
}

func serves(definition *unstructured.Unstructured) bool {
	versions, _, _ := unstructured.NestedSlice(definition.Object, "spec", "versions")
	for _, entry := range versions {
		fields, ok := entry.(map[string]any)
		if ok && fields["name"] == version && fields["served"] == true {
			return true
		}
	}
	return false
}

// outline keeps of a definition what is asked above: the schemas of these kinds are large.
func outline(object any) (any, error) {
	definition, ok := object.(*unstructured.Unstructured)
	if !ok {
		return object, nil
	}
	definition.SetManagedFields(nil)
	definition.SetAnnotations(nil)
	versions, _, _ := unstructured.NestedSlice(definition.Object, "spec", "versions")
	short := make([]any, 0, len(versions))
	for _, entry := range versions {
		if fields, ok := entry.(map[string]any); ok {
			short = append(short, map[string]any{"name": fields["name"], "served": fields["served"]})
		}
	}
	definition.Object["spec"] = map[string]any{"versions": short}
	return definition, nil
}
