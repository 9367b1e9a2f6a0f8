//go:build component

// Package packaging compares the two ways to install the operator: what `kubectl apply -k manifests/default`
// applies, as kubectl itself renders it, and what a lifecycle manager makes of the bundle.
package packaging

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const (
	root     = "../.."
	operator = "cluster-image-registry-operator"
	lastSize = 256 << 10
)

type object = map[string]any

// rendered are the objects that kubectl applies, by kind and name.
func rendered(t *testing.T) map[string]object {
	t.Helper()
	bin := os.Getenv("DEVCLUSTER_BIN")
	if bin == "" {
		bin = filepath.Join(root, "_output", "devcluster", "bin")
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "kubectl"), "kustomize", filepath.Join(root, "manifests", "default")).Output()
	if err != nil {
		t.Fatalf("kubectl kustomize: %v", err)
	}
	objects := map[string]object{}
	for _, document := range bytes.Split(out, []byte("\n---\n")) {
		var o object
		if err := yaml.Unmarshal(document, &o); err != nil {
			t.Fatal(err)
		}
		objects[text(o, "kind")+"/"+text(o, "metadata", "name")] = o
	}
	return objects
}

func bundled(t *testing.T, name string) object {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "manifests", "bundle", "manifests", name))
	if err != nil {
		t.Fatal(err)
	}
	var o object
	if err := yaml.Unmarshal(data, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func dig(value any, keys ...string) any {
	for _, key := range keys {
		mapping, _ := value.(object)
		value = mapping[key]
	}
	return value
}

func text(value any, keys ...string) string {
	s, _ := dig(value, keys...).(string)
	return s
}

func entries(value any, keys ...string) []any {
	list, _ := dig(value, keys...).([]any)
	return list
}

// Behaviour operator 85: both ways install the same Deployment, rights, definitions and Service. kubectl adds
// the Namespace, and nothing else is in one of them only.
func TestBothInstallationsAreEqual(t *testing.T) {
	applied := rendered(t)
	csv := bundled(t, operator+".clusterserviceversion.yaml")
	same := func(key string, got, want any) {
		t.Helper()
		if want == nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the bundle has\n%v\nkubectl applies\n%v", key, got, want)
		}
	}
	seen := map[string]bool{"Namespace/image-registry-system": true, "ServiceAccount/" + operator: true}

	deployments := entries(csv, "spec", "install", "spec", "deployments")
	if len(deployments) != 1 {
		t.Fatalf("%d Deployments in the bundle, want 1", len(deployments))
	}
	key := "Deployment/" + operator
	seen[key] = true
	same(key, dig(deployments[0], "spec"), dig(applied[key], "spec"))
	same(key+" labels", dig(deployments[0], "label"), dig(applied[key], "metadata", "labels"))

	for field, kind := range map[string]string{"clusterPermissions": "ClusterRole", "permissions": "Role"} {
		var rules []any
		names := []string{operator}
		if kind == "ClusterRole" {
			names = append(names, operator+"-grants")
		}
		for _, name := range names {
			rules = append(rules, entries(applied[kind+"/"+name], "rules")...)
			seen[kind+"/"+name], seen[kind+"Binding/"+name] = true, true
			if subjects := entries(applied[kind+"Binding/"+name], "subjects"); len(subjects) != 1 || text(subjects[0], "name") != operator {
				t.Errorf("%sBinding/%s has the subjects %v", kind, name, subjects)
			}
		}
		permissions := entries(csv, "spec", "install", "spec", field)
		if len(permissions) != 1 || text(permissions[0], "serviceAccountName") != operator {
			t.Fatalf("%s: %v", field, permissions)
		}
		got, want := entries(permissions[0], "rules"), rules
		if len(got) != len(want) {
			t.Errorf("%s: %d rules in the bundle, %d applied", field, len(got), len(want))
		}
		for _, rule := range want {
			if !contains(got, rule) {
				t.Errorf("%s: the bundle lacks %v", field, rule)
			}
		}
	}

	files, err := filepath.Glob(filepath.Join(root, "manifests", "bundle", "manifests", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		o := bundled(t, filepath.Base(file))
		key := text(o, "kind") + "/" + text(o, "metadata", "name")
		if text(o, "kind") == "ClusterServiceVersion" {
			continue
		}
		seen[key] = true
		same(key, dig(o, "spec"), dig(applied[key], "spec"))
	}
	for key := range applied {
		if !seen[key] {
			t.Errorf("%s is applied by kubectl and not in the bundle", key)
		}
	}
	for key := range seen {
		if applied[key] == nil {
			t.Errorf("%s is not applied by kubectl", key)
		}
	}
}

func contains(list []any, wanted any) bool {
	for _, entry := range list {
		if reflect.DeepEqual(entry, wanted) {
			return true
		}
	}
	return false
}

// Nothing that is applied is too large for the annotation in which kubectl apply keeps what it applied.
func TestWhatIsAppliedFitsIntoTheAnnotationOfApply(t *testing.T) {
	for key, o := range rendered(t) {
		data, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) >= lastSize {
			t.Errorf("%s has %d bytes, the limit is %d", key, len(data), lastSize)
		}
	}
}

// The template of the namespace that a console offers has the labels of the one that kubectl makes.
func TestSuggestedNamespaceIsTheOneThatKubectlMakes(t *testing.T) {
	csv := bundled(t, operator+".clusterserviceversion.yaml")
	var template object
	annotation := text(csv, "metadata", "annotations", "operatorframework.io/suggested-namespace-template")
	if err := yaml.Unmarshal([]byte(annotation), &template); err != nil {
		t.Fatal(err)
	}
	labels, _ := dig(template, "metadata", "labels").(object)
	applied := dig(rendered(t)["Namespace/image-registry-system"], "metadata", "labels")
	if len(labels) < 4 || !reflect.DeepEqual(dig(template, "metadata", "labels"), applied) {
		t.Errorf("template %v, kubectl %v", labels, applied)
	}
	if !strings.Contains(annotation, "cpaas-system") {
		t.Error("the template lacks the project of the platform")
	}
}
