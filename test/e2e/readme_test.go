//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"image.alauda.io/registry/test/installed"
)

var commandBlock = regexp.MustCompile("(?ms)^```bash\n(.*?)^```$")

// readmeBlocks returns the blocks of commands of a document, in order. Blocks marked `sh` are not
// among them: they are the make targets that run these tests.
func readmeBlocks(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(shared.root, file))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, match := range commandBlock.FindAllSubmatch(text, -1) {
		blocks = append(blocks, string(match[1]))
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no commands", file)
	}
	return blocks
}

// TestReadmeCommands runs every command of the README in order, the uninstallation included, and
// installs the product again.
func TestReadmeCommands(t *testing.T) {
	t.Cleanup(func() { reinstall(t) })
	session := "" // a person keeps one shell: variables that a block exports are there in the next
	for i, block := range readmeBlocks(t, "README.md") {
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

// TestCommandsOfTheGuides runs the commands that the administrators' pages show.
//
// Behaviour operator 88, as far as pages exist.
func TestCommandsOfTheGuides(t *testing.T) {
	pages := []string{"docs/use.md", "docs/configure.md", "docs/operate.md", "docs/troubleshoot.md", "docs/nodes.md", "docs/pruning.md"}
	runbooks, err := filepath.Glob(filepath.Join(shared.root, "docs", "runbooks", "Image*.md"))
	if err != nil || len(runbooks) < 10 {
		t.Fatalf("runbooks: %v, %v", runbooks, err)
	}
	for _, runbook := range runbooks {
		pages = append(pages, filepath.Join("docs", "runbooks", filepath.Base(runbook)))
	}
	for _, page := range pages {
		for _, block := range readmeBlocks(t, page) {
			if out := shared.shell(t, block); out == "" {
				t.Errorf("%s: a block prints nothing:\n%s", page, block)
			}
		}
	}
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
