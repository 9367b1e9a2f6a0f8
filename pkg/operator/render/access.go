package render

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"image.alauda.io/registry/manifests"
)

// Access returns ServiceAccounts, roles and bindings of all operands but the pruner.
func Access(s Settings) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for _, part := range []struct {
		operand string
		files   []string
	}{
		{manifests.Shared, []string{"user-roles.yaml", "monitoring.yaml", "public.yaml"}},
		{manifests.ImageRegistry, []string{"rbac.yaml"}},
		{manifests.ImageAPIServer, []string{"rbac.yaml"}},
		{manifests.NodeCA, []string{"serviceaccount.yaml"}},
	} {
		objects, err := s.several(part.operand, part.files...)
		if err != nil {
			return nil, err
		}
		out = append(out, objects...)
	}
	for _, object := range out {
		if err := s.fillMonitoring(object); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// fillMonitoring names the accounts that may scrape in the two bindings that leave them open.
func (s Settings) fillMonitoring(object *unstructured.Unstructured) error {
	kind := object.GetKind()
	if object.GetName() != "registry-monitoring" || kind != "RoleBinding" && kind != "ClusterRoleBinding" {
		return nil
	}
	subjects := make([]any, 0, len(s.Monitoring))
	for _, account := range s.Monitoring {
		subjects = append(subjects, map[string]any{"kind": "ServiceAccount", "name": account.Name, "namespace": account.Namespace})
	}
	if len(subjects) == 0 {
		return nil
	}
	if err := unstructured.SetNestedSlice(object.Object, subjects, "subjects"); err != nil {
		return fmt.Errorf("%s %s: %w", kind, object.GetName(), err)
	}
	return nil
}

// Services returns the Services of the registry and of the API server.
func Services(s Settings) ([]*unstructured.Unstructured, error) {
	registry, err := s.several(manifests.ImageRegistry, "service.yaml")
	if err != nil {
		return nil, err
	}
	apiServer, err := s.several(manifests.ImageAPIServer, "service.yaml")
	if err != nil {
		return nil, err
	}
	return append(registry, apiServer...), nil
}

// TrustedCA is the empty ConfigMap that the administrator fills.
func TrustedCA(s Settings) (*unstructured.Unstructured, error) {
	return s.single(manifests.ImageRegistry, "trusted-ca.yaml")
}
