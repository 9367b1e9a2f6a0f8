package pages

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// runs names the pages whose bash blocks a test runs one after the other, by the file in which that test names them.
var runs = map[string]string{
	"test/e2e/readme_test.go":     "README.md",
	"test/e2e/guides_test.go":     "",
	"test/olm/documented_test.go": "docs/install.md",
}

// languages of blocks: commands that a test runs, commands that say why none does, objects, and drawings.
var languages = []string{"bash", "sh", "yaml", ""}

var (
	// excuse is the first line of a block of commands that the test of its page does not run.
	excuse   = regexp.MustCompile(`^(run by Test\w+ of test/\w+(/\w+)*|not run: .{20,})`)
	testName = regexp.MustCompile(`\b(Test[A-Z]\w+)(?: of ((?:test|pkg)/[\w/]+))?`)
	programs = regexp.MustCompile(`(?m)^\s*(?:\$ )?(?:sudo )?(kubectl|pruner|make|image-registry|image-api-server|node-ca|cluster-image-registry-operator|crane|skopeo|podman|docker|helm|oras|cosign|curl|systemctl|go|source) [^ (]`)
)

// every calls check with each block of each page.
func every(t *testing.T, check func(page string, block Block)) {
	t.Helper()
	for page, text := range pages(t) {
		blocks, rest, err := Blocks(text)
		if err != nil {
			t.Errorf("%s: %v", page, err)
			continue
		}
		for number, line := range strings.Split(rest, "\n") {
			if strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "\t") {
				t.Errorf("%s: line %d outside of the fences is indented, which makes a block of it that nobody looks at: %q", page, number+1, line)
			}
		}
		for _, block := range blocks {
			check(page, block)
		}
	}
}

func TestBlocksOfCommandsAreRunOrSayWhyNot(t *testing.T) {
	guides, err := os.ReadFile(filepath.Join(root, "test/e2e/guides_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	bash, sh := 0, 0
	every(t, func(page string, block Block) {
		switch block.Language {
		case "bash":
			bash++
			named := strings.Contains(string(guides), `"`+page+`"`) || strings.HasPrefix(page, "docs/runbooks/Image")
			for _, other := range runs {
				named = named || other == page
			}
			if !named {
				t.Errorf("%s, line %d: no test runs the bash blocks of this page", page, block.Line)
			}
		case "sh":
			sh++
			if !excuse.MatchString(block.Reason()) {
				t.Errorf("%s, line %d: the first line of a block that no test of this page runs is \"# run by TestX of test/…\" or \"# not run: <why it cannot be>\", not %q",
					page, block.Line, block.Reason())
			}
		default:
			if !slices.Contains(languages, block.Language) {
				t.Errorf("%s, line %d: a block is one of %q, not %q", page, block.Line, languages, block.Language)
			}
			if found := programs.FindString(block.Text); found != "" {
				t.Errorf("%s, line %d: a command (%s) in a block %q, which no test looks for commands in", page, block.Line, strings.TrimSpace(found), block.Language)
			}
		}
	})
	if bash < 45 || sh < 20 {
		t.Errorf("only %d blocks that are run and %d that are not were found", bash, sh)
	}
}

// Whoever says that a test runs something names one that exists.
func TestNamedTestsExist(t *testing.T) {
	declared := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "_output" || strings.HasPrefix(entry.Name(), ".") && entry.Name() != ".." || entry.Name() == "ext") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		for _, match := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(source, -1) {
			declared[string(match[1])] = append(declared[string(match[1])], filepath.ToSlash(dir))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for page, text := range pages(t) {
		for _, match := range testName.FindAllStringSubmatch(text, -1) {
			switch where := declared[match[1]]; {
			case len(where) == 0:
				t.Errorf("%s names %s, which does not exist", page, match[1])
			case match[2] != "" && !slices.Contains(where, strings.TrimSuffix(match[2], "/")):
				t.Errorf("%s says that %s is in %s; it is in %v", page, match[1], match[2], where)
			}
		}
	}
}

// A block that says which test runs it is read from its page by that test, so that both cannot come apart.
func TestBlocksAreReadByTheTestTheyName(t *testing.T) {
	reads := regexp.MustCompile("documented\\(t, \"([^\"]+)\", (\"[^\"]+\"|`[^`]+`)")
	every(t, func(page string, block Block) {
		match := testName.FindStringSubmatch(block.Reason())
		if block.Language != "sh" || match == nil || !strings.HasPrefix(block.Reason(), "run by ") {
			return
		}
		files, err := filepath.Glob(filepath.Join(root, match[2], "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, body, found := strings.Cut(string(source), "\nfunc "+match[1]+"(")
			if !found {
				continue
			}
			for _, call := range reads.FindAllStringSubmatch(body, -1) {
				if call[1] == page && strings.Contains(block.Text, strings.Trim(call[2], "`\"")) {
					return
				}
			}
		}
		t.Errorf("%s, line %d: %s does not read this block by documented(t, %q, …)", page, block.Line, match[1], page)
	})
}

func TestHiddenBlocksAreFound(t *testing.T) {
	for name, text := range map[string]string{
		"indented fence": "- point\n\n  ```bash\n  kubectl get pods\n  ```\n",
		"tildes":         "~~~\nkubectl get pods\n~~~\n",
		"four graves":    "````sh\nkubectl get pods\n````\n",
		"without end":    "```sh\nkubectl get pods\n",
		"block in block": "```sh\nkubectl get pods\n```bash\n",
	} {
		if blocks, _, err := Blocks(text); err == nil {
			t.Errorf("%s: no error, blocks %v", name, blocks)
		}
	}
	blocks, rest, err := Blocks("a `b | c` d\n```bash title=\"x\"\nmake up\n```\n\ne\n")
	if err != nil || len(blocks) != 1 || blocks[0].Language != `bash title="x"` || blocks[0].Line != 2 || blocks[0].Text != "make up\n" {
		t.Errorf("blocks %+v, %v", blocks, err)
	}
	if got := Inline(rest); len(got) != 1 || got[0] != "b | c" {
		t.Errorf("inline %q", got)
	}
}

func TestCommandsOfAShellText(t *testing.T) {
	for _, tc := range []struct {
		text string
		want []string
	}{
		{"kubectl get pods -l a=b # all\n", []string{"kubectl|get|pods|-l|a=b"}},
		{"kubectl get \\\n  pods | tail -1 >/dev/null 2>&1 || true", []string{"kubectl|get|pods", "tail|-1|>/dev/null|2>&1", "true"}},
		{`A=1 plan=$(kubectl -n x get y -o jsonpath='{.a}{"\n"}')`, []string{`kubectl|-n|x|get|y|-o|jsonpath={.a}{"\n"}`}},
		{`kubectl patch "$(kubectl get "a b" -o name)"`, []string{"kubectl|get|a b|-o|name", "kubectl|patch|$(…)"}},
		{"for x in a b; do\n  kubectl delete $x\ndone", []string{"for|x|in|a|b", "kubectl|delete|$x"}},
		{"until kubectl auth can-i get x; do sleep 1; done", []string{"kubectl|auth|can-i|get|x", "sleep|1"}},
		{"kubectl create -f - <<END\na: b\nEND\nls", []string{"kubectl|create|-f|-|<<|a: b\n", "ls"}},
		{"login <<<\"$TOKEN\"", []string{"login|<<<$TOKEN"}},
		{"# not run: x\nA=b kubectl get pods && B=c ls", []string{"kubectl|get|pods", "ls"}},
	} {
		var got []string
		for _, command := range Commands(tc.text) {
			got = append(got, strings.Join(command, "|"))
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%q: %q, want %q", tc.text, got, tc.want)
		}
	}
}
