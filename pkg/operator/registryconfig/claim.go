package registryconfig

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/pkg/operator/storage"
)

// removeStorage deletes the claim only with proof that the operator made it. It is the one step that cannot be
// taken back, so nothing of it relies on a cache: the claim and Config are read anew, and the request is bound
// to the very version of the claim that carried the proof.
func (c *Controller) removeStorage(ctx context.Context, config *registryv1.Config) (bool, error) {
	effective := config.Status.Storage
	if effective != nil && effective.ManagementState == registryv1.Managed && (effective.S3 != nil || effective.GCS != nil || effective.Azure != nil) {
		c.Events(corev1.EventTypeWarning, "StorageRetained", "the object store "+storage.Identity(effective)+" is kept with everything in it: the operator never empties one")
	}
	if effective == nil || effective.PVC == nil {
		return true, nil
	}
	claims := c.Kube.CoreV1().PersistentVolumeClaims(c.Settings.Namespace)
	claim, err := claims.Get(ctx, effective.PVC.Claim, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read PersistentVolumeClaim %s: %w", effective.PVC.Claim, err)
	}
	if !storage.RemoveClaim(config.Spec.Storage, effective, claim) {
		if effective.ManagementState == registryv1.Managed {
			c.Events(corev1.EventTypeWarning, "StorageRetained", fmt.Sprintf("PersistentVolumeClaim %s is kept: it was not made by the operator or was switched to Unmanaged", claim.Name))
		}
		return true, nil
	}
	if config.Annotations[registryv1.StorageLockAnnotation] == "true" {
		return false, fault.Permanentf(registryv1.ReasonStorageChangeBlocked,
			"PersistentVolumeClaim %s is kept while Config cluster carries annotation %s", claim.Name, registryv1.StorageLockAnnotation)
	}
	if claim.DeletionTimestamp != nil {
		return false, nil
	}
	if err := c.stillWanted(ctx, config); err != nil {
		return false, err
	}
	err = claims.Delete(ctx, claim.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &claim.UID, ResourceVersion: &claim.ResourceVersion},
	})
	if apierrors.IsConflict(err) {
		return false, nil // it is another one now, or has changed: look again
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("delete PersistentVolumeClaim %s: %w", claim.Name, err)
	}
	c.Events(corev1.EventTypeNormal, "StorageRemoved", fmt.Sprintf("PersistentVolumeClaim %s is deleted with the registry", claim.Name))
	return false, nil // the next look finds out when it is gone
}

// stillWanted asks whether Config is still the one that was read when the sync began: the steps before may
// have taken half a minute, and somebody may have thought better of it.
func (c *Controller) stillWanted(ctx context.Context, config *registryv1.Config) error {
	now, err := c.Configs.Get(ctx, config.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read Config %s: %w", config.Name, err)
	}
	if now.UID != config.UID || now.ResourceVersion != config.ResourceVersion {
		return fault.WaitingFor("the present version of Config %s to be looked at", config.Name)
	}
	return nil
}
