package apply

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"image.alauda.io/registry/pkg/operator/fault"
)

// recreate removes an object whose immutable field has to change; the next sync creates it anew.
func (a *Applier) recreate(ctx context.Context, ref Ref, live *unstructured.Unstructured) (*unstructured.Unstructured, bool, error) {
	if err := a.remove(ctx, ref, live); err != nil {
		return live, false, err
	}
	if a.Event != nil {
		a.Event("Normal", "Recreated", fmt.Sprintf("%s is deleted and created again, because a field that cannot be changed has to change", ref))
	}
	return live, true, fault.WaitingFor("%s to be gone before it is created again", ref)
}

// Owns says whether the operator may delete the object. Labels and annotations can be lost; what the operator
// has applied stays its own. For objects that people see, labels and annotations prove nothing: people copy them.
func (a *Applier) Owns(object *unstructured.Unstructured) bool {
	if seen(object.GetKind()) {
		return WroteMark(object, a.FieldManager, a.OwnedAnnotation)
	}
	if object.GetLabels()["app.kubernetes.io/managed-by"] == a.FieldManager || a.marked(object) {
		return true
	}
	owned, err := Owned(object, a.FieldManager)
	return err == nil && owned != nil
}

// seen says whether people make objects of the kind beside those of the operator, under names of their own.
func seen(kind string) bool { return kind == "PersistentVolumeClaim" || kind == "Ingress" }

// Delete removes an object, a workload together with its Pods. It reports true once the object is gone. An
// object that does not exist or does not belong to the operator counts as gone. The cache decides about that:
// it holds everything that may be deleted, but for what was created a moment ago.
func (a *Applier) Delete(ctx context.Context, ref Ref) (bool, error) {
	live := a.Cache.Get(ref)
	if live == nil {
		live = a.unseen(ref)
	}
	if live == nil || !a.Owns(live) {
		return true, nil
	}
	return a.DeleteThis(ctx, live)
}

// DeleteThis removes this very object, whoever made it, and reports true once it is gone.
func (a *Applier) DeleteThis(ctx context.Context, live *unstructured.Unstructured) (bool, error) {
	ref := RefOf(live)
	if live.GetDeletionTimestamp() == nil {
		if err := a.remove(ctx, ref, live); err != nil {
			return false, err
		}
	}
	return a.gone(ctx, ref, live.GetUID())
}

// gone asks the API server: the cache is behind our own request. Another object of the same name does not
// count.
func (a *Applier) gone(ctx context.Context, ref Ref, uid types.UID) (bool, error) {
	client, err := a.resource(ref)
	if err != nil {
		return false, err
	}
	live, err := client.Get(ctx, ref.Name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("read %s: %w", ref, err)
	}
	if err == nil && live.GetUID() == uid {
		return false, nil
	}
	a.forget(ref)
	return true, nil
}

func (a *Applier) remove(ctx context.Context, ref Ref, live *unstructured.Unstructured) error {
	client, err := a.resource(ref)
	if err != nil {
		return err
	}
	a.contests.forget(ref)
	uid, propagation := live.GetUID(), metav1.DeletePropagationBackground
	if ref.Kind == "Deployment" || ref.Kind == "DaemonSet" {
		propagation = metav1.DeletePropagationForeground
	}
	err = client.Delete(ctx, ref.Name, metav1.DeleteOptions{
		PropagationPolicy: &propagation,
		Preconditions:     &metav1.Preconditions{UID: &uid},
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete %s: %w", ref, err)
	}
	klog.FromContext(ctx).V(2).Info("Deleted", "object", ref.String())
	return nil
}
