package registryconfig

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
)

// apply brings one object to what is wanted. What changes while the process lives is noticed by the applier;
// what was changed while no operator ran is known by the generations in the status.
func (c *Controller) apply(ctx context.Context, object *unstructured.Unstructured) error {
	ref := apply.RefOf(object)
	first := !c.Applier.Applied(ref)
	before, err := c.Applier.Live(ctx, ref)
	if err != nil {
		return err
	}
	after, sent, err := c.Applier.Apply(ctx, object)
	if apierrors.IsInvalid(err) {
		return refusal(ref, err)
	}
	if err != nil {
		return err
	}
	if first && sent && before != nil && before.GetGeneration() != after.GetGeneration() && drifted(c.memory.generations, before) {
		c.Applier.TellCorrected(ref, before)
	}
	return nil
}

// applyRendered applies what was rendered without an error.
func (c *Controller) applyRendered(ctx context.Context, object *unstructured.Unstructured, err error) error {
	if err != nil {
		return err
	}
	return c.apply(ctx, object)
}

// drifted says whether a workload is not as the operator left it.
func drifted(generations []registryv1.GenerationStatus, live *unstructured.Unstructured) bool {
	kind, err := apply.KindOf(live.GroupVersionKind())
	if err != nil {
		return false
	}
	for _, entry := range generations {
		if entry.Group == kind.GVK.Group && entry.Resource == kind.Resource && entry.Name == live.GetName() && entry.Namespace == live.GetNamespace() {
			return entry.LastGeneration != live.GetGeneration()
		}
	}
	return false
}
