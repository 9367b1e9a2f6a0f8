//go:build component

package monitoring

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// The rules are read by Prometheus' own parser and run in its own engine: every alert fires when it should, and
// a healthy system is quiet.
func TestRulesBehave(t *testing.T) {
	program, err := filepath.Abs(filepath.Join(root, "_output", "bin", "promrules"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program,
		filepath.Join(root, "manifests", "operands", "shared", "rules.yaml"), filepath.Join("testdata", "cases.yaml")).CombinedOutput()
	if err != nil {
		t.Fatalf("promrules (make test-component builds it): %v\n%s", err, out)
	}
}
