// Package explain tests what kubectl explain prints: that every kind and every field of the product's APIs says
// what it is.
//
// In: the generated definitions of Config and ImagePruner, and the generated OpenAPI of the image API. Out:
// nothing but test results; whether the generated files are current is hack/verify-codegen.sh's business.
package explain

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/yaml"

	"image.alauda.io/registry/pkg/imageapiserver/openapi"
)

const root = "../.."

// useful says whether a text tells more than the name of its field does.
func useful(name, description string) bool {
	return len(strings.Fields(description)) >= 3 && !strings.EqualFold(strings.TrimSuffix(description, "."), name)
}

// definitions are those of Config and ImagePruner.
func definitions(t *testing.T) []apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "manifests/crd/imageregistry.operator.alauda.io_*.yaml"))
	if err != nil || len(files) != 2 {
		t.Fatalf("definitions: %v, %v", files, err)
	}
	read := make([]apiextensionsv1.CustomResourceDefinition, len(files))
	for i, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict(data, &read[i]); err != nil {
			t.Fatal(err)
		}
	}
	return read
}

func TestFieldsOfConfigAndImagePrunerAreDescribed(t *testing.T) {
	for _, definition := range definitions(t) {
		for _, version := range definition.Spec.Versions {
			schema := version.Schema.OpenAPIV3Schema
			if !useful(definition.Spec.Names.Kind, schema.Description) {
				t.Errorf("%s: the kind says %q", definition.Name, schema.Description)
			}
			if seen := below(t, definition.Spec.Names.Kind, *schema); seen < 25 {
				t.Errorf("%s has only %d fields", definition.Name, seen)
			}
		}
	}
}

// below looks at every field below a schema and returns how many there are. Those of metadata are Kubernetes' own.
func below(t *testing.T, path string, schema apiextensionsv1.JSONSchemaProps) int {
	t.Helper()
	seen := 0
	for name, field := range schema.Properties {
		if path == "Config" && name == "metadata" || path == "ImagePruner" && name == "metadata" {
			continue
		}
		seen++
		where := path + "." + name
		if !useful(name, field.Description) {
			t.Errorf("%s says %q", where, field.Description)
		}
		seen += below(t, where, field)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		seen += below(t, path+"[]", *schema.Items.Schema)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		seen += below(t, path+"{}", *schema.AdditionalProperties.Schema)
	}
	return seen
}

func TestFieldsOfTheImageAPIAreDescribed(t *testing.T) {
	definitions := openapi.GetOpenAPIDefinitions(func(path string) spec.Ref { return spec.MustCreateRef("#/" + path) })
	seen := 0
	for _, name := range slices.Sorted(maps.Keys(definitions)) {
		if !strings.Contains(name, "alauda") {
			continue
		}
		schema := definitions[name].Schema
		if len(schema.Properties) > 0 && !useful(name, schema.Description) {
			t.Errorf("%s says %q", name, schema.Description)
		}
		for field, property := range schema.Properties {
			if field == "metadata" || field == "kind" || field == "apiVersion" || field == "items" {
				continue // written by Kubernetes
			}
			seen++
			if !useful(field, property.Description) {
				t.Errorf("%s.%s says %q", name, field, property.Description)
			}
		}
	}
	if seen < 80 {
		t.Errorf("only %d fields were found", seen)
	}
}
