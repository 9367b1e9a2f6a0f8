package commands

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/test/pages"
)

const root = "../.."

// source is all Go code of the product that is no test, and the objects that it applies, as one text each.
func source(t *testing.T) (code, objects string) {
	t.Helper()
	var all, manifests strings.Builder
	for _, dir := range []string{"pkg", "cmd", "staging/src/image.alauda.io/api", "manifests"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			target := &all
			switch {
			case filepath.Ext(path) == ".yaml":
				target = &manifests
			case filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			data, err := os.ReadFile(path)
			target.Write(data)
			target.WriteByte('\n')
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all.String(), manifests.String()
}

// named are the objects of the product, as "kind/name" in lower case, the labels that select them, and the ClusterRoles.
type named struct {
	objects, labels map[string]bool
}

// objectsOfTheProduct are those below manifests, and those that the operator makes without a file, by constants of the API.
func objectsOfTheProduct(t *testing.T) named {
	t.Helper()
	n := named{objects: map[string]bool{}, labels: map[string]bool{}}
	for _, dir := range []string{"manifests/operands", "manifests/operator", "manifests/crd", "manifests/samples/olm"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".yaml" {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return n.read(data)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for kind, names := range map[string][]string{
		"config":            {imageregistryv1.SingletonName},
		"imagepruner":       {imageregistryv1.SingletonName},
		"lease":             {imageregistryv1.OperatorName},
		"ingress":           {imageregistryv1.DefaultRouteName},
		"apiservice":        {"v1.image.alauda.io"},
		"configmap":         {imageregistryv1.ConfigMapServiceCA, imageregistryv1.ConfigMapTrustedCA, imageregistryv1.ConfigMapCertificates},
		"secret":            {imageregistryv1.SecretServingCA, imageregistryv1.SecretRegistryTLS, imageregistryv1.SecretImageAPITLS, imageregistryv1.SecretPrivateConfigUser},
		"storedimage":       nil,
		"csv":               nil,
		"installplan":       nil,
		"namespace":         {imageregistryv1.DefaultNamespace},
		"storedimagestream": nil,
	} {
		for _, name := range names {
			n.objects[kind+"/"+name] = true
		}
	}
	code, _ := source(t)
	for kind, names := range map[string][]string{
		"configmap": {"image-registry-public", "image-registry-dashboard", "image-api-server-config", "node-ca-config", "image-pruner-config"},
		"lease":     {"image-registry-gc", "image-api-server-controllers"},
	} {
		for _, name := range names {
			if !strings.Contains(code, `"`+name+`"`) && !strings.Contains(code, "/"+name+`"`) {
				t.Errorf("%s %s is made by no code", kind, name)
			}
			n.objects[kind+"/"+name] = true
		}
	}
	n.labels["app.kubernetes.io/managed-by="+imageregistryv1.OperatorName] = true
	n.labels["app.kubernetes.io/part-of="+imageregistryv1.PartOf] = true
	return n
}

func (n named) read(data []byte) error {
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		var object unstructured.Unstructured
		if err := documents.Decode(&object); err != nil {
			if err.Error() == "EOF" {
				return nil
			}
			return fmt.Errorf("manifest: %w", err)
		}
		n.objects[strings.ToLower(object.GetKind())+"/"+object.GetName()] = true
		for key, value := range object.GetLabels() {
			n.labels[key+"="+value] = true
		}
		pod, _, _ := unstructured.NestedStringMap(object.Object, "spec", "template", "metadata", "labels")
		for key, value := range pod {
			n.labels[key+"="+value] = true
		}
	}
}

// shown is one command of a page.
type shown struct {
	page, text string
	words      pages.Command
}

// everyCommand returns all commands of all pages: of blocks that run and of those that do not, and within sentences.
func everyCommand(t *testing.T) []shown {
	t.Helper()
	all, err := pages.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	var out []shown
	for page, text := range all {
		blocks, rest, err := pages.Blocks(text)
		if err != nil {
			t.Fatalf("%s: %v", page, err)
		}
		texts := pages.Inline(rest)
		for _, block := range blocks {
			if block.Language == "bash" || block.Language == "sh" {
				texts = append(texts, block.Text)
			}
		}
		for _, text := range texts {
			for _, words := range pages.Commands(text) {
				out = append(out, shown{page, strings.Join(words, " "), words})
			}
		}
	}
	return out
}

// What the pages call an annotation, a label, a resource or a role of the product is one.
func TestNamesOfTheProductExist(t *testing.T) {
	code, objects := source(t)
	known := code + objects
	all, err := pages.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	prefixed := regexp.MustCompile(`[a-z.]*alauda\.io/[a-zA-Z][a-zA-Z.-]*[a-zA-Z]`)
	roles := regexp.MustCompile(`system:(?:image|registry)[a-z-]*[a-z]`)
	checked := 0
	for page, text := range all {
		if strings.HasPrefix(page, "docs/design/") {
			continue
		}
		for _, name := range append(prefixed.FindAllString(text, -1), roles.FindAllString(text, -1)...) {
			checked++
			last := name[strings.LastIndex(name, "/")+1:]
			if !strings.Contains(known, name) && !strings.Contains(code, `Prefix + "`+last+`"`) && !strings.Contains(known, `"`+last+`"`) {
				t.Errorf("%s names %s, which neither the code nor the manifests know", page, name)
			}
		}
	}
	if checked < 60 {
		t.Errorf("only %d names were found", checked)
	}
}

// Variables that the pages name are read by a program, or are those of a program of others.
func TestVariablesExist(t *testing.T) {
	code, objects := source(t)
	all, err := pages.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	variable := regexp.MustCompile("`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)`")
	foreign := regexp.MustCompile(`^(AWS_|SSL_CERT_|OTEL_|HTTPS?_PROXY|NO_PROXY|REGISTRY_(HOST|CA|STORAGE)|REGISTRY_ALAUDA_|DEVCLUSTER_|EVERY_STEP|IMAGE_REGISTRY)`)
	for page, text := range all {
		for _, match := range variable.FindAllStringSubmatch(text, -1) {
			if name := match[1]; !foreign.MatchString(name) && !strings.Contains(code+objects, name) {
				t.Errorf("%s names the variable %s, which no program reads", page, name)
			}
		}
	}
}
