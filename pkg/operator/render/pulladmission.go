package render

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/manifests"
)

// PullAdmissionGroup is the group of the policy that names pull secrets in ServiceAccounts.
const PullAdmissionGroup = "admissionregistration.k8s.io"

// PullAdmission is that policy and its binding, in this order, for one version of the API. Namespaces with one
// of the names, or with a name that begins with one of the prefixes, are left alone.
func PullAdmission(s Settings, version string, names, prefixes []string) ([]*unstructured.Unstructured, error) {
	objects, err := s.base(manifests.Shared, "pull-admission.yaml")
	if err != nil {
		return nil, err
	}
	for _, object := range objects {
		object.SetAPIVersion(PullAdmissionGroup + "/" + version)
		if object.GetKind() != "MutatingAdmissionPolicy" {
			continue
		}
		if err := excludeNamespaces(object, names, prefixes); err != nil {
			return nil, fmt.Errorf("MutatingAdmissionPolicy %s: %w", object.GetName(), err)
		}
	}
	return objects, nil
}

func excludeNamespaces(policy *unstructured.Unstructured, names, prefixes []string) error {
	expressions, _, err := unstructured.NestedSlice(policy.Object, "spec", "matchConstraints", "namespaceSelector", "matchExpressions")
	if err != nil {
		return err
	}
	if len(names) > 0 {
		values := make([]any, len(names))
		for i, name := range names {
			values[i] = name
		}
		expressions = append(expressions, map[string]any{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": values})
	}
	if err := unstructured.SetNestedSlice(policy.Object, expressions, "spec", "matchConstraints", "namespaceSelector", "matchExpressions"); err != nil {
		return err
	}
	conditions, _, err := unstructured.NestedSlice(policy.Object, "spec", "matchConditions")
	if err != nil {
		return err
	}
	for i, prefix := range prefixes {
		// A selector of labels knows no prefixes. The values are constants of the operator.
		conditions = append(conditions, map[string]any{
			"name": fmt.Sprintf("not-a-system-namespace-%d", i), "expression": fmt.Sprintf("!request.namespace.startsWith('%s')", prefix),
		})
	}
	return unstructured.SetNestedSlice(policy.Object, conditions, "spec", "matchConditions")
}

// PullAdmissionName is the name of both objects.
const PullAdmissionName = registryv1.RegistryName + "-pull-secret"
