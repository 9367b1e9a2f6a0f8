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
	block := ""
	for _, candidate := range readmeBlocks(t, "docs/install.md") {
		if strings.Contains(candidate, apply) {
			block = candidate
		}
	}
	if block == "" {
		t.Fatalf("docs/install.md does not have %q", apply)
	}
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
