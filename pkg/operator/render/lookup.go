package render

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/manifests"
	"image.alauda.io/registry/pkg/operator/fault"
)

// LookupWebhook is the webhook configuration that resolves short image names. It is never rendered without a CA.
func LookupWebhook(s Settings, bundle string) (*unstructured.Unstructured, error) {
	if bundle == "" {
		return nil, fault.WaitingFor("the trust bundle in ConfigMap %s", registryv1.ConfigMapServiceCA)
	}
	configuration, err := s.single(manifests.ImageAPIServer, "lookup-webhook.yaml")
	if err != nil {
		return nil, err
	}
	webhooks, _, err := unstructured.NestedSlice(configuration.Object, "webhooks")
	if err != nil {
		return nil, fmt.Errorf("MutatingWebhookConfiguration %s: %w", configuration.GetName(), err)
	}
	for _, webhook := range webhooks {
		fields, _ := webhook.(map[string]any)
		if err := unstructured.SetNestedField(fields, encode(bundle), "clientConfig", "caBundle"); err != nil {
			return nil, fmt.Errorf("MutatingWebhookConfiguration %s: %w", configuration.GetName(), err)
		}
	}
	if err := unstructured.SetNestedSlice(configuration.Object, webhooks, "webhooks"); err != nil {
		return nil, fmt.Errorf("MutatingWebhookConfiguration %s: %w", configuration.GetName(), err)
	}
	return configuration, nil
}

// ImageLookup says whether short image names are resolved.
func ImageLookup(spec registryv1.ConfigSpec) bool {
	return spec.ImageAPI.ImageLookup == nil || *spec.ImageAPI.ImageLookup
}
