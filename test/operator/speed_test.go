//go:build component

package operator

import (
	"slices"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

// Behaviour 12: the documented command after the patch names a Deployment, so the time until both exist is
// printed. It is not asserted: it depends on the machine.
func TestTimeUntilBothDeploymentsExist(t *testing.T) {
	c := start(t)
	c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
	c.settle()
	before := len(c.writes.list())
	patch := []byte(`{"spec":{"managementState":"Managed","storage":{"emptyDir":{}}}}`)
	began := time.Now()
	if _, err := c.registry.ImageregistryV1().Configs().Patch(t.Context(), registryv1.SingletonName, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"image-api-server", "image-registry"} {
		for time.Since(began) < patient {
			_, err := c.kube.AppsV1().Deployments(ns).Get(t.Context(), name, metav1.GetOptions{})
			if err == nil {
				break
			}
			if !apierrors.IsNotFound(err) {
				t.Fatal(err)
			}
		}
		t.Logf("Deployment %s exists %s after the patch", name, time.Since(began).Round(time.Millisecond))
	}
	c.settle()
	t.Logf("%d requests that change something", len(c.writes.list())-before)
	for _, secret := range []string{"image-registry-tls", "image-api-server-serving-cert"} {
		if slices.Contains(c.writes.list(), "PUT /api/v1/namespaces/"+ns+"/secrets/"+secret) {
			t.Errorf("Secret %s was written twice: once without the addresses of its Service", secret)
		}
	}
}
