package registryconfig

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/pkg/operator/render"
)

// lookupWebhookName is the webhook configuration that resolves short image names.
const lookupWebhookName = "image-lookup.image.alauda.io"

var lookupWebhook = apply.Ref{Kind: "MutatingWebhookConfiguration", Name: lookupWebhookName}

// registerLookup creates the webhook configuration once its server answers, keeps its CA current from then on,
// and takes it away when short names are not to be resolved.
func (c *Controller) registerLookup(ctx context.Context, config *registryv1.Config) error {
	if !render.ImageLookup(config.Spec) {
		gone, err := c.removeLookup(ctx)
		if err == nil && !gone {
			err = fault.WaitingFor("%s to be gone", lookupWebhook)
		}
		return err
	}
	configuration, err := render.LookupWebhook(c.Settings, c.bundle())
	if err != nil {
		return err
	}
	return c.whenServed(ctx, configuration)
}

// whenServed applies what sends requests to the API server: the first time only when it answers.
func (c *Controller) whenServed(ctx context.Context, object *unstructured.Unstructured) error {
	live, err := c.Applier.Live(ctx, apply.RefOf(object))
	if err != nil {
		return err
	}
	if live == nil {
		ready, err := c.apiServerReady()
		if err != nil {
			return err
		}
		if !ready {
			return fault.WaitingFor("a ready endpoint of Service %s", registryv1.ImageAPIName)
		}
	}
	return c.apply(ctx, object)
}

// removeLookup takes the webhook configuration away: without its server, every workload with a short image name
// would wait for an answer in vain.
func (c *Controller) removeLookup(ctx context.Context) (bool, error) {
	return c.removeServed(ctx, lookupWebhook, c.lookedUpHere)
}

// lookedUpHere says whether a webhook configuration points to the server of this registry.
func (c *Controller) lookedUpHere(object *unstructured.Unstructured) bool {
	webhooks, _, _ := unstructured.NestedSlice(object.Object, "webhooks")
	for _, webhook := range webhooks {
		if fields, _ := webhook.(map[string]any); c.asksHere(fields) {
			return true
		}
	}
	return false
}

// asksHere says whether one webhook of a configuration points to the server of this registry.
func (c *Controller) asksHere(webhook map[string]any) bool {
	namespace, _, _ := unstructured.NestedString(webhook, "clientConfig", "service", "namespace")
	name, _, _ := unstructured.NestedString(webhook, "clientConfig", "service", "name")
	return namespace == c.Settings.Namespace && name == registryv1.ImageAPIWebhookService
}
