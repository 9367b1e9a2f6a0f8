package render

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/manifests"
)

// NetworkPolicies says whether the operands get NetworkPolicies. A cluster whose policies are somebody else's
// business says no with an annotation.
func NetworkPolicies(config *registryv1.Config) bool {
	return config.Annotations[registryv1.NetworkPolicyAnnotation] != "false"
}

// Policies returns the NetworkPolicies of all operands. They limit what comes in and never what goes out: the
// registry and the API server fetch from any registry and storage that their users name.
func Policies(s Settings) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for _, operand := range []string{manifests.ImageRegistry, manifests.ImageAPIServer, manifests.ImagePruner} {
		policy, err := s.single(operand, "networkpolicy.yaml")
		if err != nil {
			return nil, err
		}
		out = append(out, policy)
	}
	return out, nil
}
