package pruner

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
)

// resource is the one of ImagePruner.
var resource = registryv1.SchemeGroupVersion.WithResource("imagepruners")

// Readable decodes an ImagePruner and says why its spec cannot be decoded, if so. Such an ImagePruner has its
// metadata and status.
func Readable(object *unstructured.Unstructured) (*registryv1.ImagePruner, error) {
	pruner := &registryv1.ImagePruner{}
	err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, pruner)
	if err == nil {
		return pruner, nil
	}
	rest := map[string]any{"apiVersion": object.GetAPIVersion(), "kind": object.GetKind(), "metadata": object.Object["metadata"], "status": object.Object["status"]}
	pruner = &registryv1.ImagePruner{}
	if runtime.DefaultUnstructuredConverter.FromUnstructured(rest, pruner) != nil {
		pruner = &registryv1.ImagePruner{} // the status is the operator's own, and is written anew
		pruner.Name, pruner.UID, pruner.ResourceVersion, pruner.Generation = object.GetName(), object.GetUID(), object.GetResourceVersion(), object.GetGeneration()
	}
	return pruner, err
}

// syncUnreadable reports an ImagePruner that the API server has and nobody can decode. Its CronJob stays as it is,
// but does not run without a registry. The error that it gets is the one of the client, and is returned when it has
// another cause.
func (c *Controller) syncUnreadable(ctx context.Context, clientErr error) (time.Duration, error) {
	clientErr = fmt.Errorf("read ImagePruner %s: %w", registryv1.SingletonName, clientErr)
	if apierrors.ReasonForError(clientErr) != metav1.StatusReasonUnknown || ctx.Err() != nil {
		return 0, clientErr
	}
	client := c.Applier.Client.Resource(resource)
	object, err := client.Get(ctx, registryv1.SingletonName, metav1.GetOptions{})
	if err != nil {
		return 0, clientErr
	}
	pruner, err := Readable(object)
	if err == nil {
		return 0, clientErr
	}
	problem := fault.Permanentf(registryv1.ReasonVerificationFailed,
		"the spec of ImagePruner cluster cannot be read: %v; correct the field with kubectl edit imagepruners.%s cluster", err, registryv1.SchemeGroupVersion.Group)
	var stopErr error
	removed := c.registryRemoved()
	if removed {
		stopErr = errors.Join(c.suspend(ctx), c.stopJobs(ctx))
	}
	job, err := c.cronJob(ctx)
	if err != nil {
		return 0, err
	}
	if job != nil {
		pruner.Spec.Suspend = job.Spec.Suspend // what runs is all that is known
	}
	reportErr := c.report(ctx, pruner, removed, errors.Join(problem, stopErr), func(ctx context.Context, next *registryv1.ImagePruner) error {
		status, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&next.Status)
		if err != nil {
			return err
		}
		changed := object.DeepCopy()
		changed.Object["status"] = status
		_, err = client.UpdateStatus(ctx, changed, metav1.UpdateOptions{FieldManager: registryv1.OperatorName})
		return err
	})
	return resync, errors.Join(stopErr, reportErr)
}
