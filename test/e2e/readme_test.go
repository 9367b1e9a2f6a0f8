//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"image.alauda.io/registry/test/installed"
)

// TestReadmeCommands runs every command of the README in order, the uninstallation included, and
// installs the product again.
func TestReadmeCommands(t *testing.T) {
	t.Cleanup(func() { reinstall(t) })
	session := "" // a person keeps one shell: variables that a block exports are there in the next
	for i, block := range commandsOf(t, "README.md") {
		out := shared.shell(t, session+block)
		t.Logf("block %d\n%s", i+1, out)
		for line := range strings.Lines(block) {
			if strings.HasPrefix(line, "export ") {
				session += line
			}
		}
		if strings.Contains(block, "imagestreams,imagestreamtags") && !strings.Contains(out, "hello:v1") {
			t.Errorf("block %d does not show the pushed tag", i+1)
		}
		if strings.Contains(block, "auth can-i") && !strings.HasSuffix(out, "yes") {
			t.Errorf("block %d: the documented check does not say yes", i+1)
		}
	}
	// The stored records and their API stay, as the README says. Some of the rest ends after its command.
	cluster := installed.Connect(t)
	installed.Eventually(t, "what the uninstallation leaves", func() error {
		traces, err := cluster.Traces()
		if err != nil {
			return err
		}
		const records = `(CustomResourceDefinition /stored(images|imagestreams)|APIService /v1)\.storage\.image\.alauda\.io`
		if unknown, missing := installed.Beyond(traces, records); len(unknown)+len(missing) > 0 {
			return fmt.Errorf("the uninstallation leaves\n%s\nand not\n%s", strings.Join(unknown, "\n"), strings.Join(missing, "\n"))
		}
		return nil
	})
}

// reinstall brings the product back for the tests that follow. It has a new CA then.
func reinstall(t *testing.T) {
	t.Helper()
	if out, err := shared.tryShell(t, "make up"); err != nil {
		t.Fatalf("make up on a cluster without the product: %v\n%s", err, out)
	}
	s, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	shared = s
}
