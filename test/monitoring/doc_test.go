// Package monitoring tests what administrators look at: alerting rules, the dashboard, runbooks, and the table of
// reasons.
//
// In: the files below manifests and docs, and the source of the parts. Out: nothing but test results. Rules run
// in the query engine of Prometheus itself (hack/promrules), in the test tagged component.
package monitoring

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const root = "../.."

// rule is one entry of the PrometheusRule.
type rule struct {
	Alert       string            `json:"alert"`
	Record      string            `json:"record"`
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func rules(t *testing.T) []rule {
	t.Helper()
	var object struct {
		Spec struct {
			Groups []struct {
				Name  string `json:"name"`
				Rules []rule `json:"rules"`
			} `json:"groups"`
		} `json:"spec"`
	}
	if err := yaml.UnmarshalStrict(read(t, "manifests/operands/shared/rules.yaml"), &unstructured.Unstructured{}); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(read(t, "manifests/operands/shared/rules.yaml"), &object); err != nil {
		t.Fatal(err)
	}
	var out []rule
	for _, group := range object.Spec.Groups {
		out = append(out, group.Rules...)
	}
	if len(out) < 10 {
		t.Fatalf("only %d rules were read", len(out))
	}
	return out
}

// panel is one picture of the dashboard.
type panel struct {
	ID          int    `json:"id"`
	Type        string `json:"type"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Targets     []struct {
		Expr   string `json:"expr"`
		Legend string `json:"legendFormat"`
	} `json:"targets"`
}

// query names one query of a panel.
func (p panel) query(i int) string { return fmt.Sprintf("panel %d %q %d", p.ID, p.Title, i) }

func panels(t *testing.T) []panel {
	t.Helper()
	var dashboard struct {
		Panels []panel `json:"panels"`
	}
	if err := json.Unmarshal(read(t, "manifests/operands/shared/image-registry-dashboard.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	return dashboard.Panels
}

// expressions are all queries, by where they stand.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, r := range rules(t) {
		out["rule "+r.Alert+r.Record+fmt.Sprint(r.Labels)] = r.Expr
	}
	ids := map[int]bool{}
	for _, panel := range panels(t) {
		if ids[panel.ID] || panel.Title == "" {
			t.Errorf("panel %d %q: the id is not unique, or there is no title", panel.ID, panel.Title)
		}
		ids[panel.ID] = true
		if panel.Type != "row" && (len(panel.Targets) == 0 || panel.Description == "") {
			t.Errorf("panel %q shows nothing, or does not say what", panel.Title)
		}
		for i, target := range panel.Targets {
			out[panel.query(i)] = target.Expr
		}
	}
	if len(ids) < 40 {
		t.Fatalf("only %d panels were read", len(ids))
	}
	return out
}

// legends are the names of the lines of a panel, by the query that they belong to.
func legends(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, panel := range panels(t) {
		for i, target := range panel.Targets {
			out[panel.query(i)] = target.Legend
		}
	}
	return out
}

var (
	quoted     = regexp.MustCompile(`"[^"]*"`)
	identifier = regexp.MustCompile(`[a-z_:][a-z0-9_:]*`)
	braces     = regexp.MustCompile(`\{[^}]*\}`)
	grouping   = regexp.MustCompile(`\b(by|on|without)\s*\([^)]*\)`)
)

// metricsOf returns the names of the metrics in a query: what has an underscore or a colon and is no function.
func metricsOf(expr string) []string {
	expr = quoted.ReplaceAllString(expr, `""`)
	expr = braces.ReplaceAllString(expr, "")
	expr = grouping.ReplaceAllString(expr, "")
	var out []string
	for _, name := range identifier.FindAllString(expr, -1) {
		if name == "up" || strings.ContainsAny(name, "_:") && name != "histogram_quantile" && name != "label_replace" {
			out = append(out, name)
		}
	}
	return out
}

// ofLibraries are metrics of Prometheus, Kubernetes' libraries and the Go runtime.
var ofLibraries = []string{"up", "process_resident_memory_bytes", "apiserver_request_total", "rest_client_requests_total"}

// literals are the strings in the source of the parts, tests and generated code aside.
func literals(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	err := filepath.WalkDir(filepath.Join(root, "pkg"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if literal, ok := node.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				if text, err := strconv.Unquote(literal.Value); err == nil {
					found[text] = true
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// inCode says whether a metric is made in the code, whole or from a prefix of its part and the rest.
func inCode(found map[string]bool, name string) bool {
	for _, suffix := range []string{"", "_bucket", "_count", "_sum"} {
		base, ok := strings.CutSuffix(name, suffix)
		if !ok {
			continue
		}
		if found[base] {
			return true
		}
		for _, prefix := range []string{"imageregistry_", "imageregistry_gc_", "imageregistry_pullthrough_", "node_ca_"} {
			if rest, ok := strings.CutPrefix(base, prefix); ok && found[rest] {
				return true
			}
		}
	}
	return false
}

func TestMetricsOfRulesAndDashboardExist(t *testing.T) {
	found := literals(t)
	recorded := map[string]bool{}
	for _, r := range rules(t) {
		recorded[r.Record] = true
	}
	seen := 0
	for where, expr := range expressions(t) {
		names := metricsOf(expr)
		if len(names) == 0 {
			t.Errorf("%s names no metric: %s", where, expr)
		}
		for _, name := range names {
			seen++
			if !slices.Contains(ofLibraries, name) && !recorded[name] && !inCode(found, name) {
				t.Errorf("%s: metric %s does not exist", where, name)
			}
		}
	}
	if seen < 60 {
		t.Errorf("only %d metrics were looked at", seen)
	}
}

// The figures that the specifications name are made, whether or not a rule or panel uses them.
func TestSpecifiedMetricsExist(t *testing.T) {
	found := literals(t)
	for name := range strings.FieldsSeq(string(read(t, "test/monitoring/testdata/metrics.txt"))) {
		if !inCode(found, name) {
			t.Errorf("metric %s does not exist", name)
		}
	}
}

var sections = []string{"## Meaning", "## Impact", "## Diagnosis", "## Fix"}

func TestEveryAlertSaysWhatToDo(t *testing.T) {
	severities := map[string]string{"ImageRegistryDown": "critical", "ImageAPIServerDown": "critical"}
	pages := map[string]bool{}
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		want := severities[r.Alert]
		if want == "" {
			want = "warning"
		}
		if r.Labels["severity"] != want || r.For == "" {
			t.Errorf("%s has severity %q and waits for %q; want %s and a time", r.Alert, r.Labels["severity"], r.For, want)
		}
		if r.Labels["namespace"] != "image-registry-system" {
			t.Errorf("%s has no label namespace, by which alerts are routed", r.Alert)
		}
		for _, name := range []string{"summary", "description", "runbook_url"} {
			if r.Annotations[name] == "" {
				t.Errorf("%s has no %s", r.Alert, name)
			}
		}
		page := "docs/runbooks/" + r.Alert + ".md"
		if !strings.HasSuffix(r.Annotations["runbook_url"], "/"+page) {
			t.Errorf("%s: runbook_url %s does not end in %s", r.Alert, r.Annotations["runbook_url"], page)
		}
		pages[r.Alert+".md"] = true
		text := string(read(t, page))
		at := 0
		for _, section := range sections {
			i := strings.Index(text[at:], section)
			if i < 0 {
				t.Errorf("%s lacks %q, or has it in another order", page, section)
				break
			}
			at += i
		}
		if !strings.HasPrefix(text, "# "+r.Alert+"\n") || !strings.Contains(text, "kubectl ") {
			t.Errorf("%s has another title, or no command", page)
		}
	}
	files, err := os.ReadDir(filepath.Join(root, "docs/runbooks"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !pages[file.Name()] && file.Name() != "README.md" {
			t.Errorf("docs/runbooks/%s belongs to no alert", file.Name())
		}
	}
}
