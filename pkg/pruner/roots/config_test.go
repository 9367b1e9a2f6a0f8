package roots

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

const documented = `
whitelist: ["^cpaas-system/"]
registryHosts: ["registry.example.com"]
disablePresets: ["tekton.dev"]
roots:
- group: example.com
  version: v1
  resource: widgets
  paths: ["{.spec.image}", "{.spec.sidecars[*].image}"]
  namespaces: []
  labelSelector: ""
  required: true
`

// Behaviour 22.
func TestTheDocumentedConfiguration(t *testing.T) {
	config, err := ParseConfig([]byte(documented))
	if err != nil {
		t.Fatal(err)
	}
	root := config.Roots[0]
	if len(config.Whitelisted()) != 1 || !root.isRequired() || len(root.selection().Paths) != 2 || root.Version != "v1" {
		t.Errorf("%+v", config)
	}
	if config, err := ParseConfig(nil); err != nil || len(config.Roots) != 0 {
		t.Errorf("empty: %+v, %v", config, err)
	}
}

func TestMistakesInTheConfigurationAreNamed(t *testing.T) {
	root := func(text string) string { return "roots: [{group: example.com, resource: widgets" + text + "}]" }
	for text, want := range map[string]string{
		"root: []":                                                     "root",
		"whitelist: ['(']":                                             "whitelist[0]",
		"whitelist: yes":                                               "whitelist",
		"registryHosts: ['https://h']":                                 "registryHosts[0]",
		"registryHosts: ['']":                                          "registryHosts[0]",
		"disablePresets: [example.com]":                                "disablePresets[0]",
		"roots: [{group: example.com}]":                                "resource",
		"roots: [{group: a b, resource: widgets}]":                     "group",
		"roots: [{resource: Widgets}]":                                 "resource",
		"roots: [{resource: pods/status}]":                             "resource",
		"roots: [{resource: pods}]":                                    "pods is read anyway",
		"roots: [{group: apps, resource: deployments}]":                "deployments.apps is read anyway",
		"roots: [{group: image.alauda.io, resource: a}]":               "read anyway",
		root(", version: 'v1/../..'"):                                  "version",
		root(", paths: ['.spec.image']"):                               "braces",
		root(", paths: ['{.spec.image']"):                              "JSONPath",
		root(", paths: ['image: {.spec.image}']"):                      "braces",
		root(", paths: ['{.a}{.b}']"):                                  "braces",
		root(", paths: ['{}']"):                                        "JSONPath",
		root(`, paths: ['{"text"}']`):                                  "names no field",
		root(", paths: ['{.a[}']"):                                     "JSONPath",
		root(", paths: ['{range .a[*]}{.b}{end}']"):                    "braces",
		root(", labelSelector: 'a in ('"):                              "labelSelector",
		root(", namespaces: ['a/b']"):                                  "namespaces",
		root(", path: []"):                                             "path",
		root("}, {group: example.com, resource: widgets, version: v2"): "twice",
	} {
		if _, err := ParseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestExclusions(t *testing.T) {
	for text, valid := range map[string]bool{
		"example.com": true, "widgets.example.com": true, "apps.kruise.io": true,
		"": false, "apps": false, "deployments.apps": false, "cronjobs.batch": false, "Widgets.example.com": false, "*.example.com": false, "a..b": false,
	} {
		if err := ValidateExclusion(text); (err == nil) != valid {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestTheRoleThatIsMissing(t *testing.T) {
	kinds := []Kind{{Group: "other.com", Resource: "gadgets"}, {Group: "example.com", Resource: "widgets"}, {Group: "example.com", Resource: "apparatus"}}
	got, err := Role(kinds)
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/role.yaml"
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || string(got) != string(want) {
		t.Errorf("%v\n%s", err, got)
	}
	if none, err := Role(nil); err != nil || !strings.HasPrefix(string(none), "# Nothing is missing") {
		t.Errorf("%s, %v", none, err)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add(documented)
	f.Add("roots: [{resource: a, paths: ['{.a[?(@.b==1)].c}', '{..image}', '{[0:1:0]}']}]")
	f.Fuzz(func(t *testing.T, text string) {
		config, err := ParseConfig([]byte(text))
		if err != nil {
			return
		}
		for _, root := range config.Roots {
			if len(root.selection().Paths) != len(root.Paths) || root.Resource == "" {
				t.Errorf("%+v", root)
			}
		}
	})
}
