package registryconfig

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
)

// singletons is the resource of Config.
var singletons = schema.GroupVersionResource{Group: registryv1.SchemeGroupVersion.Group, Version: registryv1.SchemeGroupVersion.Version, Resource: "configs"}

// Readable decodes a Config and says why its spec cannot be decoded, if so. Such a Config has its metadata and
// status, and a spec that lets everybody leave alone what runs: neither changed nor removed by a misread word.
func Readable(object *unstructured.Unstructured) (*registryv1.Config, error) {
	config := &registryv1.Config{}
	err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, config)
	if err == nil {
		return config, nil
	}
	rest := map[string]any{"apiVersion": object.GetAPIVersion(), "kind": object.GetKind(), "metadata": object.Object["metadata"], "status": object.Object["status"]}
	config = &registryv1.Config{}
	if runtime.DefaultUnstructuredConverter.FromUnstructured(rest, config) != nil {
		config = &registryv1.Config{} // the status is the operator's own, and is written anew
		config.Name, config.UID, config.ResourceVersion = object.GetName(), object.GetUID(), object.GetResourceVersion()
		config.Generation, config.DeletionTimestamp, config.Finalizers = object.GetGeneration(), object.GetDeletionTimestamp(), object.GetFinalizers()
	}
	config.Spec.ManagementState = registryv1.Unmanaged
	config.Spec.Storage.ManagementState = registryv1.Unmanaged
	config.Spec.ImagePullSecret.ManagementState = registryv1.Unmanaged
	return config, err
}

// syncUnreadable reports a Config that the API server has and nobody can decode. The error that it gets is the
// one of the client, and is returned when it has another cause.
func (c *Controller) syncUnreadable(ctx context.Context, clientErr error) (time.Duration, error) {
	clientErr = fmt.Errorf("read Config %s: %w", registryv1.SingletonName, clientErr)
	if apierrors.ReasonForError(clientErr) != metav1.StatusReasonUnknown || ctx.Err() != nil {
		return 0, clientErr
	}
	client := c.Applier.Client.Resource(singletons)
	object, err := client.Get(ctx, registryv1.SingletonName, metav1.GetOptions{})
	if err != nil {
		return 0, clientErr
	}
	config, err := Readable(object)
	if err == nil {
		return 0, clientErr
	}
	problem := fault.Permanentf(registryv1.ReasonVerificationFailed,
		"the spec of Config cluster cannot be read: %v; correct the field with kubectl edit configs.%s cluster", err, registryv1.SchemeGroupVersion.Group)
	if config.DeletionTimestamp != nil {
		return c.removeUnreadable(ctx, object, config)
	}
	config.Spec.ManagementState = registryv1.Managed // in the conditions: it should run, and something is wrong
	return c.reportUnreadable(ctx, object, config, outcome{err: problem, storage: previousExistence(config.Status.Conditions)})
}

// removeUnreadable removes everything but the storage: what the spec says of it cannot be known.
func (c *Controller) removeUnreadable(ctx context.Context, object *unstructured.Unstructured, config *registryv1.Config) (time.Duration, error) {
	out := c.work(ctx, config, true)
	if !out.removal.done {
		return c.reportUnreadable(ctx, object, config, out)
	}
	rest := slices.DeleteFunc(object.GetFinalizers(), func(name string) bool { return name == registryv1.Finalizer })
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"finalizers": rest, "resourceVersion": object.GetResourceVersion()}})
	if err != nil {
		return 0, fmt.Errorf("patch Config %s: %w", object.GetName(), err)
	}
	_, err = c.Applier.Client.Resource(singletons).Patch(ctx, object.GetName(), types.MergePatchType, body, metav1.PatchOptions{FieldManager: registryv1.OperatorName})
	if err != nil {
		return 0, fmt.Errorf("patch Config %s: %w", object.GetName(), err)
	}
	return resync, nil
}

// reportUnreadable writes the status into the object as it is stored.
func (c *Controller) reportUnreadable(ctx context.Context, object *unstructured.Unstructured, config *registryv1.Config, out outcome) (time.Duration, error) {
	return c.reportWith(ctx, config, out, func(ctx context.Context, next *registryv1.Config) error {
		status, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&next.Status)
		if err != nil {
			return err
		}
		changed := object.DeepCopy()
		changed.Object["status"] = status
		_, err = c.Applier.Client.Resource(singletons).UpdateStatus(ctx, changed, metav1.UpdateOptions{FieldManager: registryv1.OperatorName})
		return err
	})
}
