package registryconfig

import (
	"context"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/render"
)

// policies are the NetworkPolicies of the operands.
func (c *Controller) policies() []apply.Ref {
	return refs("NetworkPolicy", c.Settings.Namespace, registryv1.RegistryName, registryv1.ImageAPIName, registryv1.PrunerName)
}

// isolate keeps the NetworkPolicies, or takes away those that the operator made.
func (c *Controller) isolate(ctx context.Context, p *pass, config *registryv1.Config) {
	if !render.NetworkPolicies(config) {
		_, err := c.deleteAll(ctx, c.policies()) // nothing waits for their end
		p.add(err)
		return
	}
	objects, err := render.Policies(c.Settings)
	if p.add(err) {
		c.together(ctx, p, objects)
	}
}
