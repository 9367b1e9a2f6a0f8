//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// The documented installation, once more on a cluster that has it, changes nothing. Whatever it would change
// each time is something that the server fills in otherwise, or that two writers fight about.
func TestRepeatedInstallationChangesNothing(t *testing.T) {
	const apply = "kubectl apply -k manifests/default"
	block := documented(t, "docs/install.md", apply)
	shared.shell(t, block)
	out := shared.shell(t, apply)
	lines := strings.Split(out, "\n")
	if len(lines) < 10 {
		t.Errorf("only %d objects:\n%s", len(lines), out)
	}
	for _, line := range lines {
		if !strings.HasSuffix(line, " unchanged") {
			t.Errorf("applied twice: %s", line)
		}
	}
	shared.waitHealthy(t)
}

// What an earlier build gave the operator and a later one does not need is taken away by the documented command.
func TestUpgradeLeavesNoRightsOfEarlierBuilds(t *testing.T) {
	const grants = "cluster-image-registry-operator-grants"
	const found = "kubectl -n image-registry-system get role,rolebinding " + grants + " --ignore-not-found -o name"
	t.Cleanup(func() {
		shared.shell(t, "kubectl -n image-registry-system delete role,rolebinding "+grants+" --ignore-not-found")
	})
	shared.shell(t, "kubectl -n image-registry-system create role "+grants+" --verb=deletecollection --resource=leases.coordination.k8s.io")
	shared.shell(t, "kubectl -n image-registry-system create rolebinding "+grants+" --role="+grants+" --serviceaccount=image-registry-system:cluster-image-registry-operator")
	if out := shared.shell(t, found); strings.Count(out, grants) != 2 {
		t.Fatalf("the rights of an earlier build are not there: %s", out)
	}
	shared.shell(t, documented(t, "docs/install.md", grants))
	if out := shared.shell(t, found); out != "" {
		t.Errorf("the upgrade leaves\n%s", out)
	}
}
