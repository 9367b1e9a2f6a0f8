package main

import (
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	sigsyaml "sigs.k8s.io/yaml"
)

const repository = "../.."

// maxDefinition is what etcd and the annotation of kubectl apply can hold.
const maxDefinition = 256 << 10

var update = flag.Bool("update", false, "write manifests/bundle and manifests/catalog")

func repositoryOptions() options {
	o := defaultOptions()
	o.Root = repository
	return o
}

func mustRender(t *testing.T, o options) map[string][]byte {
	t.Helper()
	files, err := render(o)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func decoded(t *testing.T, data []byte) object {
	t.Helper()
	var o object
	if err := sigsyaml.Unmarshal(data, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func renderedCSV(t *testing.T, o options) object {
	t.Helper()
	return decoded(t, mustRender(t, o)["bundle/manifests/"+packageName+".clusterserviceversion.yaml"])
}

// Behaviour operator 85: what is committed is what the manifests say.
func TestBundleAndCatalogAreCurrent(t *testing.T) {
	o := repositoryOptions()
	files := mustRender(t, o)
	if *update {
		if err := write(o, files, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	var log strings.Builder
	if err := verify(o, files, &log); err != nil {
		t.Errorf("%v:\n%s", err, log.String())
	}
}

// Behaviour operator 85: related images are those of the Deployment's environment, all five.
func TestRelatedImagesAreThoseOfTheDeployment(t *testing.T) {
	csv := renderedCSV(t, repositoryOptions())
	deployments, _ := dig(csv, "spec", "install", "spec", "deployments").([]any)
	container, err := operatorContainer(deployments[0].(object))
	if err != nil {
		t.Fatal(err)
	}
	fromEnvironment := map[string]string{}
	list, _ := container["env"].([]any)
	for _, entry := range list {
		if value := text(entry, "value"); strings.Contains(value, "/") {
			fromEnvironment[text(entry, "name")] = value
		}
	}
	want := map[string]string{
		"operator": fromEnvironment["OPERATOR_IMAGE"], "registry": fromEnvironment["RELATED_IMAGE_REGISTRY"],
		"api-server": fromEnvironment["RELATED_IMAGE_API_SERVER"], "node-ca": fromEnvironment["RELATED_IMAGE_NODE_CA"],
		"pruner": fromEnvironment["RELATED_IMAGE_PRUNER"],
	}
	got := map[string]string{}
	related, _ := dig(csv, "spec", "relatedImages").([]any)
	for _, image := range related {
		got[text(image, "name")] = text(image, "image")
	}
	if !reflect.DeepEqual(got, want) || len(fromEnvironment) != 5 {
		t.Errorf("related images %v, Deployment %v", got, fromEnvironment)
	}
	if text(container, "image") != want["operator"] || text(csv, "metadata", "annotations", "containerImage") != want["operator"] {
		t.Errorf("the operator's image is %s, %s and %s", text(container, "image"), want["operator"], text(csv, "metadata", "annotations", "containerImage"))
	}
}

// A release names every image by digest, and leaves nothing of the development names.
func TestReleaseNamesImagesByDigest(t *testing.T) {
	built := t.TempDir()
	names := []string{packageName, "image-registry", "image-api-server", "node-ca", "pruner"}
	digests := map[string]string{}
	for _, name := range names {
		digests[name] = buildLayout(t, filepath.Join(built, name), name)
	}
	o := repositoryOptions()
	o.Registry, o.Digests, o.BundleImage = "registry.example.com/team/", built, "registry.example.com/team/bundle@"+digests["pruner"]
	for name, data := range mustRender(t, o) {
		if strings.Contains(string(data), "localhost/") || strings.Contains(string(data), ":dev") {
			t.Errorf("%s names an image of development", name)
		}
	}
	related, _ := dig(renderedCSV(t, o), "spec", "relatedImages").([]any)
	if want := "registry.example.com/team/image-registry@" + digests["image-registry"]; len(related) != 5 || text(related[1], "image") != want {
		t.Errorf("related images %v, want %s second", related, want)
	}
	o.Digests = t.TempDir()
	if _, err := render(o); err == nil {
		t.Error("images that are not built were named")
	}
}

// Each release follows the one before it, can be reached from any, and the catalog keeps both.
func TestReleaseFollowsTheOneBefore(t *testing.T) {
	first := mustRender(t, repositoryOptions())
	version := text(decoded(t, first["bundle/manifests/"+packageName+".clusterserviceversion.yaml"]), "spec", "version")
	entry := "catalog/" + packageName + "/v" + version + ".yaml"
	o := repositoryOptions()
	o.Version, o.Replaces, o.Released = "9.0.0", version, t.TempDir()
	if _, err := render(o); err == nil {
		t.Error("a release without the catalog entry of its predecessor was made")
	}
	if err := os.WriteFile(filepath.Join(o.Released, "v"+version+".yaml"), first[entry], 0o644); err != nil {
		t.Fatal(err)
	}
	files := mustRender(t, o)
	if string(files[entry]) != string(first[entry]) {
		t.Error("the entry of the earlier release changed")
	}
	csv := decoded(t, files["bundle/manifests/"+packageName+".clusterserviceversion.yaml"])
	if text(csv, "spec", "replaces") != csvName(version) || text(csv, "metadata", "name") != csvName("9.0.0") ||
		text(csv, "metadata", "annotations", "olm.skipRange") != ">=0.0.1 <9.0.0" {
		t.Errorf("release: %v replaces %v, skips %v", dig(csv, "metadata", "name"), dig(csv, "spec", "replaces"), dig(csv, "metadata", "annotations", "olm.skipRange"))
	}
	if head := string(files["catalog/"+packageName+"/package.yaml"]); !strings.Contains(head, "replaces: "+csvName(version)) {
		t.Errorf("the channel has no way from %s:\n%s", version, head)
	}
	o.Version = version
	if _, err := render(o); err == nil {
		t.Error("a version was released twice")
	}
}

// The examples are the samples that people are shown, and name every owned kind.
func TestExamplesAreTheSamples(t *testing.T) {
	csv := renderedCSV(t, repositoryOptions())
	var examples []object
	if err := json.Unmarshal([]byte(text(csv, "metadata", "annotations", "alm-examples")), &examples); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, example := range examples {
		kinds = append(kinds, text(example, "kind"))
	}
	if want := []string{"Config", "Config", "Config", "ImagePruner"}; !slices.Equal(kinds, want) {
		t.Errorf("examples %v, want %v", kinds, want)
	}
}

// Descriptors of a console name fields that exist.
func TestDescriptorsNameFieldsOfTheDefinitions(t *testing.T) {
	files := mustRender(t, repositoryOptions())
	csv := renderedCSV(t, repositoryOptions())
	definitions := map[string]object{}
	for name, data := range files {
		if !strings.HasPrefix(name, "bundle/manifests/imageregistry") {
			continue
		}
		if len(data) >= maxDefinition {
			t.Errorf("%s has %d bytes, etcd and kubectl apply take %d", name, len(data), maxDefinition)
		}
		definition := decoded(t, data)
		definitions[text(definition, "metadata", "name")] = definition
	}
	owned, _ := dig(csv, "spec", "customresourcedefinitions", "owned").([]any)
	if len(owned) != 2 || len(definitions) != 2 {
		t.Fatalf("%d owned, %d definitions, want two each", len(owned), len(definitions))
	}
	for _, entry := range owned {
		versions, _ := dig(definitions[text(entry, "name")], "spec", "versions").([]any)
		if len(versions) != 1 {
			t.Fatalf("%s is owned and has no definition with one version", text(entry, "name"))
		}
		for section, field := range map[string]string{"specDescriptors": "spec", "statusDescriptors": "status"} {
			descriptors, _ := dig(entry, section).([]any)
			if len(descriptors) == 0 {
				t.Errorf("%s has no %s", text(entry, "name"), section)
			}
			for _, descriptor := range descriptors {
				if dig(versions[0], "schema", "openAPIV3Schema", "properties", field, "properties", text(descriptor, "path")) == nil {
					t.Errorf("%s: %s names %s.%s, which does not exist", text(entry, "name"), section, field, text(descriptor, "path"))
				}
			}
		}
	}
}

// Nothing may ever remove the records of the Image API, so they are not in the bundle.
func TestBundleHoldsNoRecordsAndNoWebhooks(t *testing.T) {
	for name, data := range mustRender(t, repositoryOptions()) {
		if strings.HasPrefix(name, "bundle/manifests/") && strings.Contains(string(data), "kind: CustomResourceDefinition") && strings.Contains(string(data), "group: storage.image.alauda.io") {
			t.Errorf("%s defines records of the Image API", name)
		}
	}
	csv := renderedCSV(t, repositoryOptions())
	if dig(csv, "spec", "webhookdefinitions") != nil || dig(csv, "spec", "apiservicedefinitions") != nil {
		t.Error("the bundle asks for certificates of the lifecycle manager")
	}
}

// The image of the bundle carries the annotations as labels; whoever reads only the image decides by them.
func TestImageLabelsAreTheAnnotations(t *testing.T) {
	var table struct {
		Images []struct {
			Name   string            `json:"name"`
			Labels map[string]string `json:"labels"`
		} `json:"images"`
	}
	if err := readYAML(filepath.Join(repository, "images", "images.yaml"), &table); err != nil {
		t.Fatal(err)
	}
	for _, image := range table.Images {
		if image.Name != bundleImage {
			continue
		}
		got := object{}
		for key, value := range image.Labels {
			got[key] = value
		}
		if want := bundleLabels(); !reflect.DeepEqual(got, want) {
			t.Errorf("labels %v, annotations %v", got, want)
		}
		return
	}
	t.Errorf("there is no image %s", bundleImage)
}

// An object of the operator that a bundle cannot carry fails the build instead of being left out.
func TestObjectsWithoutPlaceAreRefused(t *testing.T) {
	for what, o := range map[string]object{
		"another kind":    {"kind": "ConfigMap", "metadata": object{"name": "x"}},
		"another account": {"kind": "ServiceAccount", "metadata": object{"name": "x"}},
		"another subject": {"kind": "ClusterRoleBinding", "metadata": object{"name": "x"}, "roleRef": object{"kind": "ClusterRole", "name": "x"},
			"subjects": []any{object{"kind": "ServiceAccount", "name": "x", "namespace": suggestedNamespace}}},
		"another role": {"kind": "ClusterRoleBinding", "metadata": object{"name": "x"}, "roleRef": object{"kind": "ClusterRole", "name": "y"},
			"subjects": []any{object{"kind": "ServiceAccount", "name": packageName, "namespace": suggestedNamespace}}},
	} {
		if err := new(input).take(o); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for what, change := range map[string]func(*options){
		"digests alone":  func(o *options) { o.Digests = "x" },
		"leading v":      func(o *options) { o.Version = "v1.0.0" },
		"half a version": func(o *options) { o.Replaces = "1.0" },
		"another folder": func(o *options) { o.Replaces = "../1.0.0" },
	} {
		o := defaultOptions()
		change(&o)
		if o.Validate() == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}
