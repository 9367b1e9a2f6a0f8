package monitoring

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const reasonsPage = "docs/troubleshoot.md"

var (
	camelCase = regexp.MustCompile(`^[A-Z][A-Za-z0-9]+$`)
	inTicks   = regexp.MustCompile("`([A-Z][A-Za-z0-9]+)`")
)

// walk parses every file below a directory, tests aside.
func walk(t *testing.T, directory string, visit func(ast.Node) bool) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, directory), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err == nil {
			ast.Inspect(file, visit)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func text(expr ast.Expr) string {
	literal, ok := expr.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return ""
	}
	value, _ := strconv.Unquote(literal.Value)
	return value
}

// constants are the reasons of the API, by their Go name.
func constants(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	walk(t, "staging/src/image.alauda.io/api/imageregistry/v1", func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, name := range spec.Names {
			if strings.Contains(name.Name, "Reason") && i < len(spec.Values) && text(spec.Values[i]) != "" {
				out[name.Name] = text(spec.Values[i])
			}
		}
		return true
	})
	return out
}

// reasonsOfOperator are the reasons that the operator can set: constants that it uses, and words that it gives
// to a verdict or a permanent fault.
func reasonsOfOperator(t *testing.T) map[string]bool {
	t.Helper()
	named, out := constants(t), map[string]bool{}
	walk(t, "pkg/operator", func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.SelectorExpr:
			if reason, ok := named[n.Sel.Name]; ok {
				out[reason] = true
			}
		case *ast.CallExpr:
			called := ""
			switch f := n.Fun.(type) {
			case *ast.Ident:
				called = f.Name
			case *ast.SelectorExpr:
				called = f.Sel.Name
			}
			if (called == "yes" || called == "no" || called == "Permanentf") && len(n.Args) > 0 && camelCase.MatchString(text(n.Args[0])) {
				out[text(n.Args[0])] = true
			}
		}
		return true
	})
	return out
}

// Every reason that a condition can have is explained, with the next step, and no other is.
func TestEveryReasonIsExplained(t *testing.T) {
	_, table, found := strings.Cut(string(read(t, reasonsPage)), "## Reasons of conditions")
	if !found {
		t.Fatalf("%s has no section about reasons", reasonsPage)
	}
	table, _, _ = strings.Cut(table, "\n## ")
	explained := map[string]bool{}
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for _, match := range inTicks.FindAllStringSubmatch(cells[1], -1) {
			if explained[match[1]] {
				t.Errorf("%s is explained twice", match[1])
			}
			explained[match[1]] = true
			if strings.TrimSpace(cells[2]) == "" || strings.TrimSpace(cells[3]) == "" {
				t.Errorf("%s has no meaning or no next step", match[1])
			}
		}
	}
	reasons := reasonsOfOperator(t)
	if len(reasons) < 40 {
		t.Fatalf("only %d reasons were found in the code", len(reasons))
	}
	for reason := range reasons {
		if !explained[reason] {
			t.Errorf("%s does not explain %s", reasonsPage, reason)
		}
	}
	known := map[string]bool{"BackoffLimitExceeded": true} // Kubernetes' own, handed on from the Job
	for _, reason := range constants(t) {
		known[reason] = true
	}
	for reason := range explained {
		if !known[reason] && !reasons[reason] {
			t.Errorf("%s explains %s, which does not exist", reasonsPage, reason)
		}
	}
}
