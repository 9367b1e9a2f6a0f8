package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestNumbersAreFoundInComments(t *testing.T) {
	for text, want := range map[string][]span{
		"Behaviour 24.":                          {{"", "24", "24"}},
		"Behaviours 12 and 13.":                  {{"", "12", "12"}, {"", "13", "13"}},
		"Behaviours 21, 32, 55 and 56.":          {{"", "21", "21"}, {"", "32", "32"}, {"", "55", "55"}, {"", "56", "56"}},
		"Behaviour 33a: more than 2 words.":      {{"", "33a", "33a"}},
		"Behaviours 40 to 44, and 46.":           {{"", "40", "44"}, {"", "46", "46"}},
		"Behaviour operator 12.":                 {{"operator", "12", "12"}},
		"Behaviour 76 and 76a: two.":             {{"", "76", "76"}, {"", "76a", "76a"}},
		"A sentence. Behaviour 1. Behaviour 2.":  {{"", "1", "1"}, {"", "2", "2"}},
		"Behaviours 21,\n32 and 55.":             {{"", "21", "21"}, {"", "32", "32"}, {"", "55", "55"}},
		"Behaviour of 3 things; misbehaviour 4.": nil,
		"Behaviour 12th is no number.":           nil,
	} {
		if got := numbersIn(text); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

// repository writes files and returns their directory.
func repository(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const listOfThree = `spec: pruner
behaviours:
- {number: "1", title: first}
- {number: "1a", title: second}
- {number: "2", title: third}
`

const exampleTest = `package plan

// Behaviours 1 to 2.
func TestAll(t *testing.T) { part(t) }

// Behaviour 1a.
func part(t *testing.T) {}
`

// requestedTest is a test that make test does not run.
func requestedTest(number string) string {
	return "//go:build clients\n\npackage clients\n\n// Behaviour pruner " + number + ".\nfunc TestClient(t *testing.T) {}\n"
}

func passing(test string) string {
	return `{"Action":"run","Package":"example.test/m/pkg/pruner/plan","Test":"` + test + `"}
{"Action":"output","Package":"example.test/m/pkg/pruner/plan","Test":"` + test + `","Output":"x"}
{"Action":"pass","Package":"example.test/m/pkg/pruner/plan","Test":"` + test + `"}
`
}

func example() map[string]string {
	return map[string]string{
		"go.mod":                         "module example.test/m\n",
		"test/behaviours/pruner.yaml":    listOfThree,
		"pkg/pruner/plan/plan_test.go":   exampleTest,
		"_output/tests/unit.json":        passing("TestAll"),
		"_output/ignored/broken_test.go": "not Go",
	}
}

func TestReport(t *testing.T) {
	for name, test := range map[string]struct {
		change map[string]string
		// problems are parts of what is reported, one for each problem.
		problems []string
		// table is a part of the table.
		table string
	}{
		"everything passed": {table: "| 1a | second | pass | example.test/m/pkg/pruner/plan.TestAll (pass) |"},
		"failed": {
			change:   map[string]string{"_output/tests/component.json": strings.ReplaceAll(passing("TestAll"), `"pass"`, `"fail"`)},
			problems: []string{"pruner 1: fail", "pruner 1a: fail", "pruner 2: fail"},
		},
		"not run": {
			change:   map[string]string{"_output/tests/unit.json": passing("TestOther")},
			problems: []string{"pruner 1: not run", "pruner 1a: not run", "pruner 2: not run"},
		},
		"skipped everywhere": {
			change:   map[string]string{"_output/tests/unit.json": strings.ReplaceAll(passing("TestAll"), `"pass"`, `"skip"`)},
			problems: []string{"pruner 1: skip", "pruner 1a: skip", "pruner 2: skip"},
		},
		"skipped in one level": {
			change: map[string]string{"_output/tests/component.json": strings.ReplaceAll(passing("TestAll"), `"pass"`, `"skip"`)},
			table:  "TestAll (pass)",
		},
		"a part skipped": {
			change: map[string]string{"_output/tests/unit.json": passing("TestAll") + strings.ReplaceAll(passing("TestAll/part"), `"pass"`, `"skip"`)},
			table:  "TestAll (pass, 1 subtests skipped)",
		},
		"failed, then passed when run again": {
			change: map[string]string{"_output/tests/unit.json": strings.ReplaceAll(passing("TestAll"), `"pass"`, `"fail"`) + passing("TestAll")},
			table:  "TestAll (pass)",
		},
		"on request, beside a test that passed": {
			change: map[string]string{"test/clients/clients_test.go": requestedTest("1")},
			table:  "| 1 | first | pass | example.test/m/pkg/pruner/plan.TestAll (pass)<br>example.test/m/test/clients.TestClient (on request: make test-clients) |",
		},
		"on request only": {
			change: map[string]string{
				"test/clients/clients_test.go": requestedTest("3"),
				"test/behaviours/pruner.yaml":  listOfThree + "- {number: \"3\", title: fourth}\n",
			},
			problems: []string{"pruner 3: not run"},
		},
		"on request only, and the list says why": {
			change: map[string]string{
				"test/clients/clients_test.go": requestedTest("3"),
				"test/behaviours/pruner.yaml":  listOfThree + "- {number: \"3\", title: fourth, left: takes an hour}\n",
			},
			table: "| 3 | fourth | left | example.test/m/test/clients.TestClient (on request: make test-clients)<br>left: takes an hour |",
		},
		"on request, failed": {
			change: map[string]string{
				"test/clients/clients_test.go": requestedTest("1"),
				"_output/tests/clients.json":   `{"Action":"fail","Package":"example.test/m/test/clients","Test":"TestClient"}`,
			},
			problems: []string{"pruner 1: fail"},
		},
		"no such number": {
			change:   map[string]string{"pkg/pruner/plan/other_test.go": "package plan\n\n// Behaviour 3.\nfunc TestOther(t *testing.T) {}\n"},
			problems: []string{"pkg/pruner/plan/other_test.go:3: pruner has no behaviours 3 to 3"},
		},
		"outside of a test": {
			change:   map[string]string{"pkg/pruner/plan/other_test.go": "package plan\n\n// Behaviour 2.\nfunc unused() {}\n"},
			problems: []string{"pkg/pruner/plan/other_test.go:3: 2 is cited outside of a test"},
		},
		"in no specification's directory": {
			change:   map[string]string{"test/e2e/other_test.go": "package e2e\n\n// Behaviour 2.\nfunc TestOther(t *testing.T) {}\n"},
			problems: []string{"test/e2e/other_test.go:3: say of which specification 2 is"},
		},
		"no test": {
			change:   map[string]string{"test/behaviours/pruner.yaml": listOfThree + "- {number: \"3\", title: fourth}\n"},
			problems: []string{"pruner 3 has no test and no reason: fourth"},
		},
		"left": {
			change: map[string]string{"test/behaviours/pruner.yaml": listOfThree + "- {number: \"3\", title: fourth, left: nobody came}\n"},
			table:  "| 3 | fourth | left | left: nobody came |",
		},
		"later": {
			change: map[string]string{"test/behaviours/pruner.yaml": listOfThree + "- {number: \"3\", title: a|b, later: next year}\n"},
			table:  `| 3 | a\|b | later | later: next year |`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			files := example()
			for file, content := range test.change {
				files[file] = content
			}
			root := repository(t, files)
			var stdout, stderr bytes.Buffer
			code := run([]string{"-root", root}, &stdout, &stderr)
			if wrong := len(test.problems) > 0; (code != 0) != wrong {
				t.Errorf("exit code %d, stderr %s", code, &stderr)
			}
			var got []string
			for line := range strings.Lines(stderr.String()) {
				if line = strings.TrimPrefix(strings.TrimSpace(line), "behaviours: "); !strings.HasSuffix(line, " problems") {
					got = append(got, line)
				}
			}
			if len(got) != len(test.problems) {
				t.Errorf("problems %q, want %q", got, test.problems)
			}
			for _, want := range test.problems {
				if !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, want) }) {
					t.Errorf("problems %q, want one that starts with %q", got, want)
				}
			}
			table, err := os.ReadFile(filepath.Join(root, "_output", "behaviours.md"))
			if err != nil || !strings.Contains(string(table), test.table) {
				t.Errorf("table %s, error %v, want %q in it", table, err, test.table)
			}
			if !strings.HasPrefix(stdout.String(), "behaviours of pruner: ") {
				t.Errorf("summary %q", &stdout)
			}
		})
	}
}

func TestListOnlyNeedsNoResults(t *testing.T) {
	files := example()
	delete(files, "_output/tests/unit.json")
	root := repository(t, files)
	var stdout, stderr bytes.Buffer
	if code := run([]string{"-root", root, "-list-only"}, &stdout, &stderr); code != 0 || stdout.String() != "behaviours of pruner: 3, cited 3\n" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, &stdout, &stderr)
	}
	if code := run([]string{"-root", root}, &stdout, &stderr); code != 1 {
		t.Errorf("exit code %d without results, want 1", code)
	}
}

func TestBadListsAreRefused(t *testing.T) {
	for name, content := range map[string]string{
		"other spec":     "spec: operator\n",
		"unknown field":  "spec: pruner\nbehaviors: []\n",
		"no number":      "spec: pruner\nbehaviours: [{number: x, title: a}]\n",
		"no title":       "spec: pruner\nbehaviours: [{number: \"1\"}]\n",
		"twice":          "spec: pruner\nbehaviours: [{number: \"1\", title: a}, {number: \"1\", title: b}]\n",
		"later and left": "spec: pruner\nbehaviours: [{number: \"1\", title: a, later: b, left: c}]\n",
	} {
		if _, err := readLists(filepath.Dir(filepath.Join(repository(t, map[string]string{"pruner.yaml": content}), "pruner.yaml"))); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDirectoriesBelongToSpecifications(t *testing.T) {
	for dir, want := range map[string]string{
		"pkg/registry/store": "registry", "pkg/oci/remote": "image-api", "pkg/oci/manifest": "registry", "test/imagestorage": "image-api",
		"pkg/imageapiserver": "image-api", "pkg/imageapiserverless": "", "test/e2e": "", "test/operator": "operator",
	} {
		if got := directorySpec(dir); got != want {
			t.Errorf("%s: got %q, want %q", dir, got, want)
		}
	}
}
