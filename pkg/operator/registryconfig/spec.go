package registryconfig

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/storage"
)

// ensureFinalizer keeps Config until its operands are removed.
func (c *Controller) ensureFinalizer(ctx context.Context, config *registryv1.Config) error {
	if slices.Contains(config.Finalizers, registryv1.Finalizer) {
		return nil
	}
	return c.patchFinalizers(ctx, config, append(slices.Clone(config.Finalizers), registryv1.Finalizer))
}

// releaseFinalizer lets a Config that is being deleted go.
func (c *Controller) releaseFinalizer(ctx context.Context, config *registryv1.Config) error {
	rest := slices.DeleteFunc(slices.Clone(config.Finalizers), func(f string) bool { return f == registryv1.Finalizer })
	if len(rest) == len(config.Finalizers) {
		return nil
	}
	return c.patchFinalizers(ctx, config, rest)
}

func (c *Controller) patchFinalizers(ctx context.Context, config *registryv1.Config, finalizers []string) error {
	return c.patch(ctx, config, map[string]any{"metadata": map[string]any{"finalizers": finalizers}})
}

// writeBack completes the storage in the spec. The patch holds nothing but the fields that were empty.
func (c *Controller) writeBack(ctx context.Context, config *registryv1.Config, complete storage.WriteBack) error {
	if complete.Empty() {
		return nil
	}
	fields := map[string]any{}
	if complete.ManagementState != "" {
		fields["managementState"] = complete.ManagementState
	}
	if complete.Claim != "" {
		fields["pvc"] = map[string]any{"claim": complete.Claim}
	}
	return c.patch(ctx, config, map[string]any{"spec": map[string]any{"storage": fields}})
}

// patch sends a merge patch against the version that was read, so that an edit of somebody else is never
// lost: a conflict brings the sync back. The caller's copy follows.
func (c *Controller) patch(ctx context.Context, config *registryv1.Config, content map[string]any) error {
	metadata, _ := content["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
		content["metadata"] = metadata
	}
	metadata["resourceVersion"] = config.ResourceVersion
	body, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("patch Config %s: %w", config.Name, err)
	}
	after, err := c.Configs.Patch(ctx, config.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: registryv1.OperatorName})
	if err != nil {
		return fmt.Errorf("patch Config %s: %w", config.Name, err)
	}
	status := config.Status
	*config = *after
	config.Status = status
	return nil
}
