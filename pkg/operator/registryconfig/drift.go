package registryconfig

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
)

// applyWorkload applies and reports when somebody else had changed the object meanwhile.
func (c *Controller) applyWorkload(ctx context.Context, config *registryv1.Config, object *unstructured.Unstructured, err error) error {
	if err != nil {
		return err
	}
	before, err := c.Applier.Live(ctx, apply.RefOf(object))
	if err != nil {
		return err
	}
	after, sent, err := c.Applier.Apply(ctx, object)
	if err != nil {
		return err
	}
	if sent && before != nil && before.GetGeneration() != after.GetGeneration() && drifted(config.Status.Generations, before) {
		c.Events("Warning", "DriftCorrected", fmt.Sprintf("%s was changed by %s and is put back", apply.RefOf(object), apply.ForeignManager(before, registryv1.OperatorName)))
		c.Metrics.drifted(object.GetKind(), object.GetName())
	}
	return nil
}

// drifted says whether the object is not as the operator left it.
func drifted(generations []registryv1.GenerationStatus, live *unstructured.Unstructured) bool {
	for _, entry := range generations {
		if entry.Name == live.GetName() && entry.Namespace == live.GetNamespace() {
			return entry.LastGeneration != live.GetGeneration()
		}
	}
	return false
}
