package monitoring

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const metricsPage = "docs/metrics.md"

var update = flag.Bool("update", false, "write the table of metrics")

// metric is one figure as the source declares it.
type metric struct {
	name, kind, help string
	labels           []string
}

// parts are the programs, by where their metrics are declared.
var parts = []struct{ title, directory string }{
	{"The registry", "pkg/registry"},
	{"The image API", "pkg/imageapiserver"},
	{"The operator", "pkg/operator"},
	{"The agent of the nodes", "pkg/nodeca"},
}

// elsewhere are the labels that a metric does not get in the call that declares it.
var elsewhere = map[string][]string{
	"imageregistry_requests_running": {"class"},
	"imageregistry_requests_queued":  {"class"},
}

// ofQueues are the figures that the operator makes from those of its work queues.
var ofQueues = []metric{
	{"image_registry_operator_sync_duration_seconds", "histogram", "Time of one sync.", []string{"controller"}},
	{"image_registry_operator_sync_errors_total", "counter", "Syncs that failed, or met a conflict, and are tried again with a back-off.", []string{"controller"}},
}

// declared reads the metrics of a directory from its source: calls with options that have a name, descriptions,
// and calls of functions that put a prefix before a name.
func declared(t *testing.T, directory string) map[string]metric {
	t.Helper()
	out := map[string]metric{}
	err := filepath.WalkDir(filepath.Join(root, directory), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		for _, declaration := range file.Decls {
			s := source{makers: makersOf(file, declaration), found: out}
			ast.Inspect(declaration, s.visit)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// maker is a function that declares a metric whose name it is given.
type maker struct{ kind, prefix string }

// makersOf are the functions of a file, and the local ones of one declaration, that are makers.
func makersOf(file *ast.File, declaration ast.Decl) map[string]maker {
	out := map[string]maker{}
	for _, other := range file.Decls {
		if function, ok := other.(*ast.FuncDecl); ok && function.Recv == nil {
			addMaker(out, function.Name.Name, function.Body)
		}
	}
	ast.Inspect(declaration, func(node ast.Node) bool {
		assign, ok := node.(*ast.AssignStmt)
		if !ok || len(assign.Rhs) != 1 {
			return true
		}
		name, named := assign.Lhs[0].(*ast.Ident)
		if literal, ok := assign.Rhs[0].(*ast.FuncLit); ok && named {
			addMaker(out, name.Name, literal.Body)
		}
		return true
	})
	return out
}

func addMaker(out map[string]maker, name string, body *ast.BlockStmt) {
	if body == nil {
		return
	}
	ast.Inspect(body, func(node ast.Node) bool {
		literal, ok := node.(*ast.CompositeLit)
		if !ok || kindOf(literal.Type) == "" {
			return true
		}
		fields := fieldsOf(literal)
		if fields["Name"] == nil || text(fields["Name"]) != "" {
			return true
		}
		prefix := prefixOf(fields)
		if sum, ok := fields["Name"].(*ast.BinaryExpr); ok {
			prefix += text(sum.X)
		}
		out[name] = maker{kindOf(literal.Type), prefix}
		return false
	})
}

// kindOf is the kind of a metric by the type of its options.
func kindOf(expr ast.Expr) string {
	selector, ok := expr.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	switch selector.Sel.Name {
	case "CounterOpts":
		return "counter"
	case "GaugeOpts":
		return "gauge"
	case "HistogramOpts":
		return "histogram"
	}
	return ""
}

func fieldsOf(literal *ast.CompositeLit) map[string]ast.Expr {
	out := map[string]ast.Expr{}
	for _, element := range literal.Elts {
		if pair, ok := element.(*ast.KeyValueExpr); ok {
			if key, ok := pair.Key.(*ast.Ident); ok {
				out[key.Name] = pair.Value
			}
		}
	}
	return out
}

// prefixOf is what namespace and subsystem put before a name. The only namespace is the registry's.
func prefixOf(fields map[string]ast.Expr) string {
	prefix := ""
	if fields["Namespace"] != nil {
		prefix = "imageregistry_"
	}
	if subsystem := text(fields["Subsystem"]); subsystem != "" {
		prefix += subsystem + "_"
	}
	return prefix
}

// source gathers the metrics of one declaration.
type source struct {
	makers map[string]maker
	found  map[string]metric
}

func (s source) visit(node ast.Node) bool {
	call, ok := node.(*ast.CallExpr)
	if !ok {
		return true
	}
	switch function := call.Fun.(type) {
	case *ast.Ident:
		if made, ok := s.makers[function.Name]; ok && len(call.Args) > 1 && text(call.Args[0]) != "" {
			s.add(metric{made.prefix + text(call.Args[0]), made.kind, text(call.Args[1]), texts(call.Args[2:])})
		}
	case *ast.SelectorExpr:
		if function.Sel.Name == "NewDesc" && len(call.Args) > 2 {
			s.add(metric{text(call.Args[0]), "gauge", text(call.Args[1]), texts(call.Args[2:3])})
			return true
		}
		for i, argument := range call.Args {
			s.options(argument, call.Args[i+1:])
		}
	}
	return true
}

// options adds the metric of an argument that has its options.
func (s source) options(argument ast.Expr, rest []ast.Expr) {
	if pointer, ok := argument.(*ast.UnaryExpr); ok {
		argument = pointer.X
	}
	literal, ok := argument.(*ast.CompositeLit)
	if !ok || kindOf(literal.Type) == "" {
		return
	}
	fields := fieldsOf(literal)
	if text(fields["Name"]) == "" {
		return
	}
	labels := texts(rest)
	if constant, ok := fields["ConstLabels"].(*ast.CompositeLit); ok {
		for _, element := range constant.Elts {
			labels = append(labels, text(element.(*ast.KeyValueExpr).Key))
		}
	}
	s.add(metric{prefixOf(fields) + text(fields["Name"]), kindOf(literal.Type), text(fields["Help"]), labels})
}

func (s source) add(m metric) {
	m.labels = append(m.labels, elsewhere[m.name]...)
	slices.Sort(m.labels)
	m.labels = slices.Compact(m.labels)
	s.found[m.name] = m
}

// texts are the literals among some arguments, and in the lists among them.
func texts(arguments []ast.Expr) []string {
	var out []string
	for _, argument := range arguments {
		if list, ok := argument.(*ast.CompositeLit); ok {
			out = append(out, texts(list.Elts)...)
		} else if value := text(argument); value != "" {
			out = append(out, value)
		}
	}
	return out
}

// metricsByPart are all metrics that the product declares itself.
func metricsByPart(t *testing.T) map[string]map[string]metric {
	t.Helper()
	out := map[string]map[string]metric{}
	for _, part := range parts {
		out[part.title] = declared(t, part.directory)
	}
	for _, m := range ofQueues {
		out["The operator"][m.name] = m
	}
	return out
}

// The page about metrics has each of them with its kind, its labels and what it says.
func TestEveryMetricIsDescribed(t *testing.T) {
	byPart := metricsByPart(t)
	var page strings.Builder
	page.WriteString(metricsIntroduction)
	for _, part := range parts {
		fmt.Fprintf(&page, "\n## %s\n\n| Metric | Kind | Labels | Says |\n|---|---|---|---|\n", part.title)
		names := slices.Sorted(maps.Keys(byPart[part.title]))
		if len(names) < 10 {
			t.Errorf("%s: only %d metrics were found in the source", part.title, len(names))
		}
		for _, name := range names {
			m := byPart[part.title][name]
			if m.help == "" {
				t.Errorf("%s has no text", name)
			}
			// Prometheus asks for OpenMetrics, in which a counter gets this end if it has another.
			if m.kind == "counter" && !strings.HasSuffix(name, "_total") {
				t.Errorf("counter %s would be called %s_total by Prometheus", name, name)
			}
			fmt.Fprintf(&page, "| `%s` | %s | %s | %s |\n", m.name, m.kind, inBackticks(m.labels), m.help)
		}
	}
	if *update {
		if err := os.WriteFile(filepath.Join(root, metricsPage), []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have := string(read(t, metricsPage)); have != page.String() {
		t.Errorf("%s is not what the source declares; write it anew with: go test ./test/monitoring -run TestEveryMetricIsDescribed -update", metricsPage)
	}
}

const metricsIntroduction = `# Metrics

Made from the source by ` + "`test/monitoring`" + `; how they are scraped, and by whom, is in [operate.md](operate.md#metrics-alerts-and-the-dashboard). A histogram has the three series ` + "`…_bucket`, `…_count` and `…_sum`" + `. Prometheus adds ` + "`namespace`, `job`, `pod` and `instance`" + `, and ` + "`node`" + ` to those of the agents. Names, kinds and labels stay within v1; labels may be added.
`

func inBackticks(labels []string) string {
	var out []string
	for _, label := range labels {
		out = append(out, "`"+label+"`")
	}
	return strings.Join(out, ", ")
}
