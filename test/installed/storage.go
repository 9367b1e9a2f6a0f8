package installed

import (
	"encoding/json"
	"fmt"
	"testing"
)

// ShareStorage moves the registry to a claim that many nodes may use, and back when the test ends. What is
// stored stays: Unmanaged is what keeps a claim.
func (c *Cluster) ShareStorage(t *testing.T) {
	t.Helper()
	const get = "kubectl get " + config + " -o "
	var before struct {
		Replicas int            `json:"replicas"`
		Storage  map[string]any `json:"storage"`
	}
	if err := json.Unmarshal([]byte(c.Shell(t, get+"jsonpath='{.spec}'")), &before); err != nil {
		t.Fatal(err)
	}
	storage, err := json.Marshal(before.Storage)
	if err != nil {
		t.Fatal(err)
	}
	c.Apply(t, `apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: shared-by-nodes, namespace: image-registry-system}
spec:
  accessModes: [ReadWriteMany]
  resources: {requests: {storage: 1Gi}}
`)
	t.Cleanup(func() {
		c.Shell(t, fmt.Sprintf(`kubectl patch `+config+` --type=json -p '[
  {"op": "add", "path": "/spec/replicas", "value": %d}, {"op": "replace", "path": "/spec/storage", "value": %s}]'`, before.Replicas, storage))
		c.Healthy(t)
		c.Shell(t, "kubectl -n image-registry-system delete pvc shared-by-nodes --ignore-not-found --timeout=120s")
	})
	c.Patch(t, `{"spec":{"storage":{"managementState":"Unmanaged"}}}`)
	c.Healthy(t)
	c.Patch(t, `{"spec":{"storage":{"pvc":{"claim":"shared-by-nodes"}}}}`)
	c.Healthy(t)
}
