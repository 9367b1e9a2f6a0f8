//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"image.alauda.io/registry/test/installed"
)

// Behaviours operator 86 and 87: without a lifecycle manager. The images of this build under another tag stand
// for the next version: everything rolls, as it does in an upgrade. With one and with two replicas on a
// storage that nodes share no push and no pull fails; with none, none is started.
func TestUpgradeKeepsServing(t *testing.T) {
	cluster := installed.Connect(t)
	cluster.Healthy(t)
	cluster.Build(t, cluster.Root, "next")
	project := cluster.Project(t, "upgraded")
	shareStorage(t, cluster)

	apply := func(tag string) {
		t.Helper()
		cluster.Shell(t, "kubectl apply -k "+installed.Overlay(t, cluster.Root, tag))
	}
	t.Cleanup(func() { // runs before the storage is put back
		apply("dev")
		cluster.Runs(t, installed.Operands("dev"))
	})
	upgrade := func(replicas, tag string) {
		t.Helper()
		t.Logf("%s replicas to %s", replicas, tag)
		cluster.Patch(t, `{"spec":{"replicas":`+replicas+`}}`)
		cluster.Healthy(t)
		load := cluster.StartLoad(t, project)
		apply(tag)
		cluster.Runs(t, installed.Operands(tag))
		cluster.Healthy(t)
		load.Stop(t)
	}
	upgrade("2", "next")
	upgrade("1", "dev")

	cluster.Patch(t, `{"spec":{"replicas":0}}`)
	none := func() {
		t.Helper()
		installed.Eventually(t, "no Pod of the registry", func() error {
			return isEmpty(cluster.TryShell("kubectl -n image-registry-system get pods -l app.kubernetes.io/name=image-registry -o name"))
		})
	}
	none()
	apply("next")
	cluster.Runs(t, installed.Operands("next"))
	none()
	cluster.Patch(t, `{"spec":{"replicas":1}}`)
	cluster.Healthy(t)
	load := cluster.StartLoad(t, project)
	installed.Eventually(t, "pulls after an upgrade without replicas", func() error { return atLeast(load.Done("pull"), 10) })
	installed.Eventually(t, "pushes after an upgrade without replicas", func() error { return atLeast(load.Done("push"), 10) })
	load.Stop(t)
}

// shareStorage moves the registry to a claim that many nodes may use, and back when the test ends. What is
// stored stays: Unmanaged is what keeps a claim.
func shareStorage(t *testing.T, cluster *installed.Cluster) {
	t.Helper()
	const config = "kubectl get configs.imageregistry.operator.alauda.io cluster -o "
	var before struct {
		Replicas int            `json:"replicas"`
		Storage  map[string]any `json:"storage"`
	}
	if err := json.Unmarshal([]byte(cluster.Shell(t, config+"jsonpath='{.spec}'")), &before); err != nil {
		t.Fatal(err)
	}
	storage, err := json.Marshal(before.Storage)
	if err != nil {
		t.Fatal(err)
	}
	cluster.Apply(t, `apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: shared-by-nodes, namespace: image-registry-system}
spec:
  accessModes: [ReadWriteMany]
  resources: {requests: {storage: 1Gi}}
`)
	t.Cleanup(func() {
		cluster.Shell(t, fmt.Sprintf(`kubectl patch configs.imageregistry.operator.alauda.io cluster --type=json -p '[
  {"op": "add", "path": "/spec/replicas", "value": %d}, {"op": "replace", "path": "/spec/storage", "value": %s}]'`, before.Replicas, storage))
		cluster.Healthy(t)
		cluster.Shell(t, "kubectl -n image-registry-system delete pvc shared-by-nodes --ignore-not-found --timeout=120s")
	})
	cluster.Patch(t, `{"spec":{"storage":{"managementState":"Unmanaged"}}}`)
	cluster.Healthy(t)
	cluster.Patch(t, `{"spec":{"storage":{"pvc":{"claim":"shared-by-nodes"}}}}`)
	cluster.Healthy(t)
}

func isEmpty(out string, err error) error {
	if err == nil && strings.TrimSpace(out) != "" {
		return errors.New(out)
	}
	return err
}

func atLeast(got, want int) error {
	if got < want {
		return fmt.Errorf("%d of %d so far", got, want)
	}
	return nil
}
