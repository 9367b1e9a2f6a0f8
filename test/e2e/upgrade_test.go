//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"image.alauda.io/registry/test/installed"
)

// Behaviour operator 87: without a lifecycle manager. The images of this build under another tag stand
// for the next version: everything rolls, as it does in an upgrade. With one and with two replicas on a
// storage that nodes share no push and no pull fails; with none, none is started.
func TestUpgradeKeepsServing(t *testing.T) {
	cluster := installed.Connect(t)
	cluster.Healthy(t)
	cluster.Build(t, cluster.Root, "next")
	project := cluster.Project(t, "upgraded")
	cluster.ShareStorage(t)

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
