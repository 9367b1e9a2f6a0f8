package monitoring

import (
	"go/ast"
	"go/token"
	"strings"
	"testing"
)

// fromOthers are reasons that an event has from a variable: those of conditions, and of what a workload says.
var fromOthers = []string{"InvalidServingCertificate", "RouteDegraded", "InvalidImageTrigger", "ImageTriggerForbidden", "MalformedPullSecret"}

// typeOfEvent says whether an argument is the type of an event.
func typeOfEvent(expr ast.Expr) bool {
	if selector, ok := expr.(*ast.SelectorExpr); ok {
		return selector.Sel.Name == "EventTypeWarning" || selector.Sel.Name == "EventTypeNormal"
	}
	return text(expr) == "Warning" || text(expr) == "Normal"
}

// reasonsOfEvents are the arguments behind the type of an event, written out or by the name of a constant.
func reasonsOfEvents(t *testing.T) map[string]bool {
	t.Helper()
	named, out := map[string]string{}, map[string]bool{}
	var byName []string
	for _, part := range []string{"pkg/operator", "pkg/imageapiserver", "pkg/registry"} {
		walk(t, part, func(node ast.Node) bool {
			switch n := node.(type) {
			case *ast.ValueSpec:
				for i, name := range n.Names {
					if i < len(n.Values) && camelCase.MatchString(text(n.Values[i])) {
						named[name.Name] = text(n.Values[i])
					}
				}
			case *ast.CallExpr:
				for i := 0; i+2 < len(n.Args); i++ { // the text of the event comes behind its reason
					if !typeOfEvent(n.Args[i]) {
						continue
					}
					if literal, ok := n.Args[i+1].(*ast.BasicLit); ok && literal.Kind == token.STRING {
						out[text(literal)] = true
					} else if name, ok := n.Args[i+1].(*ast.Ident); ok {
						byName = append(byName, name.Name)
					}
				}
			}
			return true
		})
	}
	for _, name := range byName {
		if reason := named[name]; reason != "" {
			out[reason] = true
		}
	}
	for _, reason := range fromOthers {
		out[reason] = true
	}
	return out
}

// Every event that the operator or the image API writes is explained, with the next step, and no other is.
func TestEveryEventIsExplained(t *testing.T) {
	_, page, found := strings.Cut(string(read(t, reasonsPage)), "\n## Events\n")
	if !found {
		t.Fatalf("%s has no section about events", reasonsPage)
	}
	explained := map[string]bool{}
	for line := range strings.Lines(page) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for _, match := range inTicks.FindAllStringSubmatch(cells[1], -1) {
			explained[match[1]] = true
			if strings.TrimSpace(cells[2]) == "" || strings.TrimSpace(cells[3]) == "" {
				t.Errorf("event %s has no meaning or no next step", match[1])
			}
		}
	}
	written := reasonsOfEvents(t)
	if len(written) < 25 {
		t.Fatalf("only %d events were found in the source", len(written))
	}
	for reason := range written {
		if !explained[reason] {
			t.Errorf("%s does not explain event %s", reasonsPage, reason)
		}
	}
	for reason := range explained {
		if !written[reason] {
			t.Errorf("%s explains event %s, which nothing writes", reasonsPage, reason)
		}
	}
}
