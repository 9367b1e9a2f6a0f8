//go:build olm

package olm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"image.alauda.io/registry/test/installed"
	"image.alauda.io/registry/test/pages"
)

// page holds the blocks of commands of docs/install.md, and which of them have run.
type page struct {
	cluster *installed.Cluster
	blocks  []string
	ran     map[int]bool
}

func readPage(t *testing.T, cluster *installed.Cluster) *page {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(cluster.Root, "docs", "install.md"))
	if err != nil {
		t.Fatal(err)
	}
	p := &page{cluster: cluster, ran: map[int]bool{}}
	blocks, _, err := pages.Blocks(string(text))
	if err != nil {
		t.Fatalf("docs/install.md: %v", err)
	}
	for _, block := range blocks {
		if block.Language != "bash" {
			t.Errorf("a block of the page is %q: commands that run here are bash", block.Language)
		}
		p.blocks = append(p.blocks, block.Text)
	}
	return p
}

// run runs the n-th block that contains what, counted from 1, word for word but for the version that a
// reader fills in, and returns what it printed.
func (p *page) run(t *testing.T, what string, n int, version string) string {
	t.Helper()
	for i, block := range p.blocks {
		if !strings.Contains(block, what) {
			continue
		}
		if n--; n > 0 {
			continue
		}
		p.ran[i] = true
		out := p.cluster.Shell(t, strings.ReplaceAll(block, "<version>", version))
		t.Logf("$ %s\n%s", strings.TrimSpace(block), out)
		return out
	}
	t.Fatalf("docs/install.md has no such block with %q", what)
	return ""
}

// complete fails the test when a block did not run.
func (p *page) complete(t *testing.T) {
	t.Helper()
	for i, block := range p.blocks {
		if !p.ran[i] {
			t.Errorf("commands of docs/install.md that this test does not run:\n%s", block)
		}
	}
}
