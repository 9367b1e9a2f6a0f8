// Package pages tests the pages of the repository as texts: that links lead somewhere, and that every command
// shown is one that a test runs, or says why none does.
//
// In: README.md, the pages below docs, and the one beside the manifests. Out: nothing but
// test results; the commands themselves are run by test/e2e and test/olm.
package pages

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// run are the pages whose bash blocks tests run: TestReadmeCommands and TestCommandsOfTheGuides in test/e2e, and
// test/olm. The names stand in those tests, too.
var run = map[string]string{
	"README.md": "test/e2e/readme_test.go", "docs/install.md": "test/olm/documented_test.go",
}

func pages(t *testing.T) map[string]string {
	t.Helper()
	names := []string{"README.md", "manifests/README.md"}
	for _, pattern := range []string{"docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range found {
			relative, err := filepath.Rel(root, name)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, filepath.ToSlash(relative))
		}
	}
	out := map[string]string{}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(data)
	}
	if len(out) < 25 {
		t.Fatalf("only %d pages were found", len(out))
	}
	return out
}

var (
	fenced  = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	title   = regexp.MustCompile(`(?m)^#+ (.*)$`)
	command = regexp.MustCompile(`(?m)^(kubectl|pruner|make) `)
	dropped = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are the names under which the titles of a page can be linked.
func anchors(text string) []string {
	var out []string
	for _, match := range title.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		name := dropped.ReplaceAllString(strings.ToLower(match[1]), "")
		out = append(out, strings.ReplaceAll(name, " ", "-"))
	}
	return out
}

func TestLinksLeadSomewhere(t *testing.T) {
	all, links := pages(t), 0
	for page, text := range all {
		for _, match := range link.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			links++
			file, anchor, _ := strings.Cut(match[1], "#")
			target := page
			if file != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(page), file))
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s links to %s, which does not exist", page, match[1])
			} else if other, known := all[target]; anchor != "" && known && !slices.Contains(anchors(other), anchor) {
				t.Errorf("%s links to %s, but %s has no such title", page, match[1], target)
			}
		}
	}
	if links < 100 {
		t.Errorf("only %d links were found", links)
	}
}

// Every page for users is reachable from the README.
func TestEveryPageIsListed(t *testing.T) {
	all := pages(t)
	for page := range all {
		if strings.HasPrefix(page, "docs/runbooks/") || strings.HasPrefix(page, "docs/design/") || !strings.HasPrefix(page, "docs/") {
			continue
		}
		if !strings.Contains(all["README.md"], "("+page+")") {
			t.Errorf("README.md does not name %s", page)
		}
	}
}

func TestCommandsAreRunOrSayWhyNot(t *testing.T) {
	guides, err := os.ReadFile(filepath.Join(root, "test/e2e/readme_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	bash, sh := 0, 0
	for page, text := range pages(t) {
		for _, at := range fenced.FindAllStringSubmatchIndex(text, -1) {
			language, block := text[at[2]:at[3]], text[at[4]:at[5]]
			switch {
			case language == "bash":
				bash++
				if run[page] == "" && !strings.HasPrefix(page, "docs/runbooks/Image") && !strings.Contains(string(guides), `"`+page+`"`) {
					t.Errorf("%s: no test runs the bash blocks of this page; the first is\n%s", page, block)
				}
			case language == "sh":
				sh++
				before := text[:at[0]]
				if !strings.HasPrefix(block, "# ") && !excused(before) {
					t.Errorf("%s does not say why no test runs\n%s", page, block)
				}
			case language == "" && command.MatchString(block):
				if !excused(text[:at[0]]) {
					t.Errorf("%s: commands in a block without a language\n%s", page, block)
				}
			}
		}
	}
	if bash < 45 || sh < 25 {
		t.Errorf("only %d blocks that are run and %d that are not were found", bash, sh)
	}
}

// excused says whether the page, or the paragraph before a block, tells that no test runs it.
func excused(before string) bool {
	paragraphs := strings.Split(strings.TrimSpace(before), "\n\n")
	last := paragraphs[len(paragraphs)-1]
	introduction := strings.Join(paragraphs[:min(3, len(paragraphs))], "\n")
	return strings.Contains(last, "not run") || strings.Contains(introduction, "no test runs them")
}
