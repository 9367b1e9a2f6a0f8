// Package olm holds the committed bundle and catalog to the rules of those who read them: the validators
// of the operator framework, and the loader of file-based catalogs.
package olm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/operator-framework/api/pkg/manifests"
	"github.com/operator-framework/api/pkg/validation"
	"github.com/operator-framework/operator-registry/alpha/declcfg"
	"github.com/operator-framework/operator-registry/alpha/property"
)

const (
	bundleDir   = "../../manifests/bundle"
	catalogDir  = "../../manifests/catalog"
	packageName = "cluster-image-registry-operator"
)

// validate runs every validator that a published bundle has to pass, and returns errors and warnings.
func validate(t *testing.T, dir string) (errors, warnings []string) {
	t.Helper()
	bundle, err := manifests.GetBundleFromDir(dir)
	if err != nil {
		return []string{err.Error()}, nil
	}
	objects := bundle.ObjectsToValidate()
	for _, object := range bundle.Objects {
		objects = append(objects, object)
	}
	validators := validation.DefaultBundleValidators.WithValidators(
		validation.OperatorHubV2Validator, validation.StandardCapabilitiesValidator, validation.StandardCategoriesValidator,
		validation.ObjectValidator, validation.GoodPracticesValidator, validation.AlphaDeprecatedAPIsValidator)
	for _, result := range validators.Validate(objects...) {
		for _, e := range result.Errors {
			errors = append(errors, e.Error())
		}
		for _, w := range result.Warnings {
			warnings = append(warnings, w.Error())
		}
	}
	return errors, warnings
}

// known are the warnings that stay, with the reason.
var known = map[string]string{
	"deprecated and removed in v1.25": "rules name resources without a version, and all of these are served in their current one",
	"permissions to create CRD":       "the records of the Image API are defined at run time, so that no removal of the bundle can remove them",
}

// Behaviour operator 85.
func TestBundleValidates(t *testing.T) {
	errors, warnings := validate(t, bundleDir)
	for _, e := range errors {
		t.Errorf("error: %s", e)
	}
	for _, w := range warnings {
		expected := false
		for part := range known {
			expected = expected || strings.Contains(w, part)
		}
		if !expected {
			t.Errorf("warning: %s", w)
		}
	}
}

// A bundle with a fault does not pass: the validators really look.
func TestBrokenBundlesDoNotValidate(t *testing.T) {
	const csv = "manifests/cluster-image-registry-operator.clusterserviceversion.yaml"
	for what, change := range map[string]func(t *testing.T, dir string){
		"a definition is missing": func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "manifests", "imageregistry.operator.alauda.io_configs.yaml")); err != nil {
				t.Fatal(err)
			}
		},
		"no installation mode": func(t *testing.T, dir string) {
			replace(t, filepath.Join(dir, csv), "supported: true", "supported: false")
		},
		"capability": func(t *testing.T, dir string) { replace(t, filepath.Join(dir, csv), "Deep Insights", "Mind Reading") },
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(bundleDir)); err != nil {
				t.Fatal(err)
			}
			change(t, dir)
			if errors, _ := validate(t, dir); len(errors) == 0 {
				t.Error("the bundle was accepted")
			}
		})
	}
}

func replace(t *testing.T, file, old, fresh string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), old) {
		t.Fatalf("%s has no %q", file, old)
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(data), old, fresh)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Behaviour operator 85: the catalog is valid as a whole, which is what `opm validate` checks.
func TestCatalogValidates(t *testing.T) {
	config, err := declcfg.LoadFS(t.Context(), os.DirFS(catalogDir))
	if err != nil {
		t.Fatal(err)
	}
	packages, err := declcfg.ConvertToModel(*config)
	if err != nil {
		t.Fatal(err)
	}
	pkg, found := packages[packageName]
	if !found || len(packages) != 1 || pkg.DefaultChannel == nil || pkg.DefaultChannel.Name != "stable" {
		t.Fatalf("packages: %v", packages)
	}
	head, err := pkg.DefaultChannel.Head()
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := manifests.GetBundleFromDir(bundleDir)
	if err != nil {
		t.Fatal(err)
	}
	if head.Name != bundle.CSV.Name || head.Version.String() != bundle.CSV.Spec.Version.String() || head.Replaces != bundle.CSV.Spec.Replaces {
		t.Errorf("the channel's head is %s (replaces %q), the bundle %s (replaces %q)", head.Name, head.Replaces, bundle.CSV.Name, bundle.CSV.Spec.Replaces)
	}
	counts := map[string]int{}
	for _, p := range head.Properties {
		counts[p.Type]++
	}
	if len(counts) != 3 || counts[property.TypePackage] != 1 || counts[property.TypeGVK] != 2 || counts[property.TypeCSVMetadata] != 1 {
		t.Errorf("properties %v: version 1 of the lifecycle manager takes no others", counts)
	}
	related := map[string]string{}
	for _, image := range head.RelatedImages {
		related[image.Name] = image.Image
	}
	if len(related) != 6 || related[""] != head.Image {
		t.Errorf("related images of the catalog: %v", related)
	}
	for _, image := range bundle.CSV.Spec.RelatedImages {
		if related[image.Name] != image.Image {
			t.Errorf("related image %s: catalog %s, bundle %s", image.Name, related[image.Name], image.Image)
		}
	}
}
