//go:build component

package operator

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

// Somebody deletes the claim under the running registry: it exists as long as the Pod, so nothing may roll the
// registry. Once the claim is gone it is made anew, and the event says what that means.
func TestTheClaimIsDeletedUnderTheRegistry(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
	const name = registryv1.ManagedClaimName
	c.edit(onClaim(name))
	c.exists(inNS("Deployment", registryv1.RegistryName)[0])
	c.waitFor(registryv1.ConditionStorageExists, registryv1.ConditionTrue, registryv1.ReasonPVCCreated)
	c.settle()
	generation := c.get(inNS("Deployment", registryv1.RegistryName)[0]).GetGeneration()
	claims := c.kube.CoreV1().PersistentVolumeClaims(ns)
	if err := claims.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.edit(func(config *registryv1.Config) { config.Spec.LogLevel = registryv1.LogDebug })
	c.eventually("the fault is named", func() (bool, string) {
		got, config := conditionOf(c.config(), registryv1.ConditionDegraded), c.config()
		return got.Reason == registryv1.ReasonInvalidStorageConfiguration && strings.Contains(got.Message, "PersistentVolumeClaim "+name+" in namespace "+ns+" was deleted") &&
			config.Status.ObservedGeneration == config.Generation, summary(config)
	})
	c.settle()
	if now := c.get(inNS("Deployment", registryv1.RegistryName)[0]).GetGeneration(); now != generation {
		t.Errorf("the registry was rolled (generation %d, was %d), and its Pod takes the claim along", now, generation)
	}
	if exists := conditionOf(c.config(), registryv1.ConditionStorageExists); exists.Status != registryv1.ConditionFalse || exists.Reason != registryv1.ReasonPVCIssuesFound {
		t.Errorf("StorageExists is %s/%s", exists.Status, exists.Reason)
	}

	ended, err := claims.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := claims.Patch(t.Context(), name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	c.eventually("a claim is made anew", func() (bool, string) {
		claim, err := claims.Get(t.Context(), name, metav1.GetOptions{})
		return err == nil && claim.UID != ended.UID, summary(c.config())
	})
	c.waitFor(registryv1.ConditionDegraded, registryv1.ConditionFalse, registryv1.ReasonAsExpected)
	c.eventually("the event tells of the loss", func() (bool, string) {
		events, err := c.kube.CoreV1().Events("").List(t.Context(), metav1.ListOptions{FieldSelector: "reason=StorageCreated,type=" + corev1.EventTypeWarning})
		return err == nil && len(events.Items) == 1 && strings.Contains(events.Items[0].Message, "it is empty"), "no such event"
	})
}

// A claim keeps its class for ever, so none is made with the misspelt name of one.
func TestTheStorageClassDoesNotExist(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
	c.edit(func(config *registryv1.Config) {
		onClaim("data")(config)
		config.Spec.Storage.PVC.StorageClassName = "standard"
	})
	c.eventually("the class is missed", func() (bool, string) {
		got := conditionOf(c.config(), registryv1.ConditionDegraded)
		return got.Status == registryv1.ConditionTrue && strings.Contains(got.Message, "spec.storage.pvc.storageClassName: StorageClass standard does not exist"), summary(c.config())
	})
	if _, err := c.kube.CoreV1().PersistentVolumeClaims(ns).Get(t.Context(), "data", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a claim was made without its class: %v", err)
	}
	if _, err := c.kube.StorageV1().StorageClasses().Create(t.Context(), defaultClass(), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.exists(inNS("Deployment", registryv1.RegistryName)[0])
	c.waitFor(registryv1.ConditionDegraded, registryv1.ConditionFalse, registryv1.ReasonAsExpected)
}
