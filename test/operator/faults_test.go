//go:build component

package operator

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

// A step that fails holds up the steps that need its result, and no others.
func TestOneRefusedObjectDoesNotHoldUpTheRest(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
	c.refusals.set("/serviceaccounts/node-ca", "/serviceaccounts/image-api-server", "/clusterroles/system:image-auditor",
		"/configmaps/image-registry-public", "/flowschemas/image-api-server", "/services/image-api-server-webhook")
	c.edit(func(config *registryv1.Config) {
		config.Spec.ManagementState = registryv1.Managed
		config.Spec.Storage = registryv1.StorageSpec{EmptyDir: &registryv1.EmptyDirStorage{}}
	})
	c.exists(inNS("Deployment", "image-registry")[0])
	held := slices.Concat(inNS("Deployment", "image-api-server"), inNS("DaemonSet", "node-ca"))
	refused := slices.Concat(inNS("ServiceAccount", "node-ca", "image-api-server"), inNS("ConfigMap", "image-registry-public"),
		inNS("Service", "image-api-server-webhook"), global("ClusterRole", "system:image-auditor"), global("FlowSchema", "image-api-server"))
	for _, ref := range append(dataPlane(), kept()...) {
		if !slices.Contains(held, ref) && !slices.Contains(refused, ref) {
			c.exists(ref)
		}
	}
	for _, ref := range held {
		if c.get(ref) != nil {
			t.Errorf("%s exists without its ServiceAccount", ref)
		}
	}

	c.refusals.set("/serviceaccounts/node-ca")
	c.exists(held[0])
	if c.get(held[1]) != nil {
		t.Errorf("%s exists without its ServiceAccount", held[1])
	}
	c.refusals.set()
	for _, ref := range append(dataPlane(), kept()...) {
		c.exists(ref)
	}
}

// fight changes the selector of a Service whenever the operator has put it back. It returns the number of
// changes once the operator leaves one alone for five seconds.
func (c *cluster) fight(service string) int {
	c.t.Helper()
	patch := []byte(`{"spec":{"selector":{"app.kubernetes.io/name":"mine"}}}`)
	for edits := range 30 {
		_, err := c.kube.CoreV1().Services(ns).Patch(c.t.Context(), service, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "somebody"})
		if err != nil {
			c.t.Fatal(err)
		}
		edited, alone := time.Now(), false
		c.eventually("the selector is put back or left alone", func() (bool, string) {
			live, err := c.kube.CoreV1().Services(ns).Get(c.t.Context(), service, metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			alone = time.Since(edited) > 5*time.Second
			return alone || live.Spec.Selector["app.kubernetes.io/name"] != "mine", ""
		})
		if alone {
			return edits + 1
		}
	}
	c.t.Fatalf("Service %s was put back 30 times in a row", service)
	return 0
}
