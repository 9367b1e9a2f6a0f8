package render

import (
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	"image.alauda.io/registry/manifests"
	"image.alauda.io/registry/pkg/operator/ingress"
)

// Ingress is the Ingress of one route.
func Ingress(s Settings, route ingress.Route) (*unstructured.Unstructured, error) {
	object, err := typed[networkingv1.Ingress](s, manifests.ImageRegistry, "ingress.yaml")
	if err != nil {
		return nil, err
	}
	object.Name = route.Name
	object.Labels = ingress.Labels(object.Labels, route.Labels)
	object.Annotations = ingress.Annotations(object.Annotations, route.Annotations...)
	if route.Mark != "" {
		object.Annotations[ingress.MarkAnnotation] = route.Mark
	}
	if route.Class != "" {
		object.Spec.IngressClassName = ptr.To(route.Class)
	}
	object.Spec.Rules[0].Host = route.Host
	object.Spec.TLS = []networkingv1.IngressTLS{{Hosts: []string{route.Host}, SecretName: route.SecretName}}
	return untyped(object)
}
