//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"image.alauda.io/registry/test/pages"
	"image.alauda.io/registry/test/secondregistry"
)

// blocksOf returns the blocks of commands of a page, in order, with what stands outside of them.
func blocksOf(t *testing.T, page string) ([]pages.Block, string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(shared.root, page))
	if err != nil {
		t.Fatal(err)
	}
	blocks, rest, err := pages.Blocks(string(text))
	if err != nil {
		t.Fatalf("%s: %v", page, err)
	}
	return blocks, rest
}

// commandsOf returns the blocks of a page that a test of the page runs.
func commandsOf(t *testing.T, page string) []string {
	t.Helper()
	var commands []string
	blocks, _ := blocksOf(t, page)
	for _, block := range blocks {
		if block.Language == "bash" {
			commands = append(commands, block.Text)
		}
	}
	if len(commands) == 0 {
		t.Fatalf("%s has no commands", page)
	}
	return commands
}

// documented returns the block of commands of a page that has a text, with names of the test in the place of those
// of the reader: pairs of both.
func documented(t *testing.T, page, text string, names ...string) string {
	t.Helper()
	blocks, _ := blocksOf(t, page)
	for _, block := range blocks {
		if (block.Language == "bash" || block.Language == "sh") && strings.Contains(block.Text, text) {
			return named(t, page, block.Text, names)
		}
	}
	t.Fatalf("no block of %s has %q", page, text)
	return ""
}

func named(t *testing.T, page, text string, names []string) string {
	t.Helper()
	for i := 0; i+1 < len(names); i += 2 {
		if !strings.Contains(text, names[i]) {
			t.Fatalf("%s does not have %q any more:\n%s", page, names[i], text)
		}
	}
	return strings.NewReplacer(names...).Replace(text)
}

// guide is a page and what its reader has made before he reads it.
type guide struct {
	page    string
	prepare func(t *testing.T) (names []string)
}

// TestCommandsOfTheGuides runs the commands that the pages show, word for word: all blocks that no other test runs,
// in one shell as far as variables go, and the commands in sentences that only read.
//
// Behaviour operator 88, as far as pages exist.
func TestCommandsOfTheGuides(t *testing.T) {
	guides := []guide{
		{page: "docs/use.md"}, {page: "docs/configure.md"}, {page: "docs/operate.md"}, {page: "docs/troubleshoot.md"},
		{page: "docs/nodes.md"}, {page: "docs/pruning.md"},
		{"docs/importing.md", prepareImports}, {"docs/image-triggers-and-lookup.md", prepareTriggers},
	}
	runbooks, err := filepath.Glob(filepath.Join(shared.root, "docs", "runbooks", "Image*.md"))
	if err != nil || len(runbooks) < 10 {
		t.Fatalf("runbooks: %v, %v", runbooks, err)
	}
	for _, runbook := range runbooks {
		guides = append(guides, guide{page: filepath.ToSlash(filepath.Join("docs", "runbooks", filepath.Base(runbook)))})
	}
	for _, g := range guides {
		t.Run(filepath.Base(g.page), func(t *testing.T) {
			var names []string
			if g.prepare != nil {
				names = g.prepare(t)
			}
			session := ""
			for _, block := range commandsOf(t, g.page) {
				out := shared.shell(t, session+strings.NewReplacer(names...).Replace(block))
				if out == "" && !strings.HasPrefix(block, "export ") {
					t.Errorf("%s: a block prints nothing:\n%s", g.page, block)
				}
				if strings.Contains(block, "kind: ImageStreamImport") && !strings.Contains(out, "status: Success") {
					t.Errorf("%s: the documented import did not succeed:\n%s", g.page, out)
				}
				for line := range strings.Lines(block) {
					if strings.HasPrefix(line, "export ") {
						session += line
					}
				}
			}
		})
	}
}

// TestCommandsInSentences runs what the pages show within their sentences, where it only reads and is complete.
//
// Behaviour operator 88.
func TestCommandsInSentences(t *testing.T) {
	all, err := pages.Read(shared.root)
	if err != nil {
		t.Fatal(err)
	}
	ran := map[string]bool{}
	for page, text := range all {
		_, rest, err := pages.Blocks(text)
		if err != nil {
			t.Fatalf("%s: %v", page, err)
		}
		for _, code := range pages.Inline(rest) {
			if ran[code] || !readsOnly(code) {
				continue
			}
			ran[code] = true
			if out, err := shared.tryShell(t, code); err != nil {
				t.Errorf("%s: $ %s\n%s\n%v", page, code, out, err)
			}
		}
	}
	if len(ran) < 6 {
		t.Errorf("only %d commands were found: %v", len(ran), ran)
	}
}

// readsOnly says whether a command can be run as it stands: it changes nothing, ends, and names nothing of the
// reader's. What is left has its names and fields checked by test/commands.
func readsOnly(code string) bool {
	commands := pages.Commands(code)
	if len(commands) != 1 || strings.ContainsAny(code, "<…") {
		return false
	}
	words := commands[0]
	if slices.Contains(words, "-f") || slices.Contains(words, "--confirm") {
		return false
	}
	for _, mine := range []string{"team-a", "NAME", "app:v1", "copy-images"} {
		if strings.Contains(code, mine) {
			return false
		}
	}
	switch words[0] {
	case "kubectl":
		return len(words) > 2 && slices.ContainsFunc(words[1:], func(word string) bool {
			return slices.Contains([]string{"get", "describe", "logs", "explain"}, word)
		})
	case "pruner":
		return len(words) > 1 && slices.Contains([]string{"images", "roots", "top"}, words[1])
	}
	return false
}

// prepareImports stands for the registries of the page with one of the tests. The streams say that its certificate
// is nobody's, which the page explains further down.
func prepareImports(t *testing.T) []string {
	registry := secondregistry.Start(t, secondregistry.Options{TLS: true, Address: bridgeAddress + ":0"})
	registry.PushImage(t, "library/nginx", "1.27", secondregistry.Image{Seed: "nginx"})
	registry.PushImage(t, "org/app", "v1", secondregistry.Image{Seed: "app"})
	namespace := shared.namespace(t, "importing")
	for _, stream := range []string{"nginx", "app"} {
		shared.shell(t, fmt.Sprintf(`kubectl -n %s create -f - <<'END'
apiVersion: image.alauda.io/v1
kind: ImageStream
metadata: {name: %s, annotations: {alauda.io/image.insecureRepository: "true"}}
END`, namespace, stream))
	}
	return []string{"team-a", namespace, "docker.io/library/nginx", registry.Host + "/library/nginx", "quay.io/org/app", registry.Host + "/org/app"}
}

// prepareTriggers makes the stream and the workload that the page is about, without Pods.
func prepareTriggers(t *testing.T) []string {
	namespace, other := shared.namespace(t, "team"), shared.namespace(t, "shared")
	auth := shared.pusher(t, namespace)
	pushRandomImage(t, namespace+"/app:v1", auth)
	pushRandomImage(t, namespace+"/app:latest", auth)
	shared.shell(t, fmt.Sprintf("kubectl -n %s create deployment web --image=registry.example.com/web --replicas=0", namespace))
	return []string{"team-a", namespace, "-n shared", "-n " + other}
}
