//go:build component

package operator

import (
	"slices"
	"testing"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

// A step that fails holds up the steps that need its result, and no others.
func TestOneRefusedObjectDoesNotHoldUpTheRest(t *testing.T) {
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
