package certificates

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
)

// write brings the Secrets and the bundle to the cluster, in the order that keeps clients working: the
// signers first, then the bundle that covers them, then the leaves. The first failure ends it, so that
// no leaf appears whose signer is not published.
func (c *Controller) write(ctx context.Context, in Input, result Result) error {
	if result.CA != nil && (in.CASecret == nil || !sameSecret(in.CASecret, result.CA)) {
		if err := c.writeAuthority(ctx, in.CASecret, result.CA); err != nil {
			return err
		}
	}
	if len(result.Bundle) > 0 {
		if err := c.publish(ctx, in.Published, result); err != nil {
			return err
		}
	}
	for _, leaf := range result.Leaves {
		if err := c.writeLeaf(ctx, in.Leaves[leaf.Name], leaf); err != nil {
			return err
		}
	}
	return nil
}

func (c *Controller) writeLeaf(ctx context.Context, live *corev1.Secret, leaf LeafResult) error {
	if leaf.Action == Keep {
		return nil
	}
	klog.FromContext(ctx).Info("Serving certificate", "secret", leaf.Name, "action", leaf.Action, "reason", leaf.Reason)
	if leaf.Action == Delete || leaf.Action == Replace {
		if err := c.deleteSecret(ctx, live); err != nil {
			return err
		}
	}
	if leaf.Action == Delete {
		return nil
	}
	return c.writeSecret(ctx, leaf.Secret)
}

// writeAuthority writes the signers. A Secret that somebody made immutable is replaced; a process that dies in
// between leaves none, which costs the signer but nobody's trust.
func (c *Controller) writeAuthority(ctx context.Context, live, secret *corev1.Secret) error {
	if live == nil || !unchangeable(live.Immutable) {
		return c.writeSecret(ctx, secret)
	}
	if err := c.deleteSecret(ctx, live); err != nil {
		return err
	}
	return c.writeSecret(ctx, recreated(secret))
}

// deleteSecret deletes the Secret that was decided on and no other of its name.
func (c *Controller) deleteSecret(ctx context.Context, live *corev1.Secret) error {
	err := c.Client.CoreV1().Secrets(c.Namespace).Delete(ctx, live.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &live.UID, ResourceVersion: &live.ResourceVersion},
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete Secret %s: %w", live.Name, err)
	}
	return nil
}

// writeSecret creates the Secret, or updates it at the version that was decided on.
func (c *Controller) writeSecret(ctx context.Context, secret *corev1.Secret) error {
	var err error
	secrets := c.Client.CoreV1().Secrets(c.Namespace)
	if secret.UID == "" && secret.ResourceVersion == "" {
		_, err = secrets.Create(ctx, secret, metav1.CreateOptions{FieldManager: fieldManager})
	} else {
		_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{FieldManager: fieldManager})
	}
	if err != nil {
		return fmt.Errorf("write Secret %s: %w", secret.Name, err)
	}
	return nil
}

// publish writes the trust bundle into its ConfigMap; foreign keys of it stay unless they take its room.
func (c *Controller) publish(ctx context.Context, live *corev1.ConfigMap, result Result) error {
	wanted := bundleConfigMap(live, c.Namespace, result)
	configMaps := c.Client.CoreV1().ConfigMaps(c.Namespace)
	var err error
	switch {
	case live != nil && reflect.DeepEqual(live.Data, wanted.Data) &&
		maps.Equal(live.Labels, wanted.Labels) && maps.Equal(live.Annotations, wanted.Annotations):
	case live != nil && unchangeable(live.Immutable):
		err = configMaps.Delete(ctx, live.Name, metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &live.UID, ResourceVersion: &live.ResourceVersion},
		})
		if err == nil || apierrors.IsNotFound(err) {
			fresh := metav1.ObjectMeta{Namespace: c.Namespace, Name: live.Name, Labels: wanted.Labels, Annotations: wanted.Annotations}
			_, err = configMaps.Create(ctx, &corev1.ConfigMap{ObjectMeta: fresh, Data: wanted.Data}, metav1.CreateOptions{FieldManager: fieldManager})
		}
	case live != nil:
		_, err = configMaps.Update(ctx, wanted, metav1.UpdateOptions{FieldManager: fieldManager})
	default:
		_, err = configMaps.Create(ctx, wanted, metav1.CreateOptions{FieldManager: fieldManager})
	}
	if err != nil {
		return fmt.Errorf("write ConfigMap %s: %w", BundleConfigMapName, err)
	}
	return nil
}

// bundleConfigMap renders the ConfigMap of the bundle over the existing one.
func bundleConfigMap(live *corev1.ConfigMap, namespace string, result Result) *corev1.ConfigMap {
	wanted := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: BundleConfigMapName}}
	if live != nil {
		wanted = live.DeepCopy()
	}
	if wanted.Data == nil {
		wanted.Data = map[string]string{}
	}
	dropForeign(wanted.Data, []string{BundleKey}, maxForeignData)
	dropForeign(wanted.Annotations, []string{ownedAnnotation, sinceAnnotation, previousAnnotation}, maxForeignAnnotations)
	setMeta(&wanted.ObjectMeta, BundleConfigMapName)
	wanted.Data[BundleKey] = string(result.Bundle)
	for key, value := range result.BundleNotes {
		if value == "" {
			delete(wanted.Annotations, key)
		} else {
			wanted.Annotations[key] = value
		}
	}
	return wanted
}

func sameStatus(a, b Status) bool {
	return slices.Equal(a.Certificates, b.Certificates) && bytes.Equal(a.Bundle, b.Bundle) &&
		slices.Equal(a.Problems, b.Problems) && a.FailingSince.Equal(b.FailingSince)
}
