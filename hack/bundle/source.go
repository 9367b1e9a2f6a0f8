package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"
)

const (
	// packageName is also the name of the Deployment, the ServiceAccount and the Subscription.
	packageName = "cluster-image-registry-operator"
	channel     = "stable"
	// suggestedNamespace is where the documentation installs.
	suggestedNamespace = "image-registry-system"
)

// object is a decoded YAML mapping.
type object = map[string]any

// input is everything that the bundle is made of.
type input struct {
	version, replaces, createdAt string
	base                         object
	icon                         []byte
	namespace, service           object
	deployment                   object
	roles                        []object
	examples                     []object
	crds                         map[string][]byte
	released                     map[string][]byte
	history                      []string
	bundleImage                  string
}

// release is hack/bundle/release.yaml.
type release struct {
	Version   string   `json:"version"`
	CreatedAt string   `json:"createdAt"`
	History   []string `json:"history"`
}

func read(o options) (*input, error) {
	at := func(parts ...string) string { return filepath.Join(append([]string{o.Root}, parts...)...) }
	var r release
	if err := readYAML(at("hack", "bundle", "release.yaml"), &r); err != nil {
		return nil, err
	}
	in := &input{version: first(o.Version, r.Version), createdAt: r.CreatedAt}
	var err error
	if in.history, err = earlier(r.History, o.Replaces, in.version); err != nil {
		return nil, fmt.Errorf("release.yaml and the flags: %w", err)
	}
	if len(in.history) > 0 {
		in.replaces = in.history[len(in.history)-1]
	}
	if err := readYAML(at("hack", "bundle", "base.yaml"), &in.base); err != nil {
		return nil, err
	}
	if in.icon, err = os.ReadFile(at("hack", "bundle", "icon.svg")); err != nil {
		return nil, err
	}
	if err := in.readOperator(at("manifests", "operator")); err != nil {
		return nil, err
	}
	if in.crds, err = readCRDs(at("manifests", "crd")); err != nil {
		return nil, err
	}
	for _, name := range []string{"config-emptydir.yaml", "config-pvc.yaml", "config-s3.yaml", "imagepruner.yaml"} {
		var example object
		if err := readYAML(at("manifests", "samples", name), &example); err != nil {
			return nil, err
		}
		in.examples = append(in.examples, example)
	}
	if err := in.readReleased(first(o.Released, at("hack", "bundle", "released"))); err != nil {
		return nil, err
	}
	return in, in.nameImages(o)
}

func first(values ...string) string {
	for _, value := range values {
		if value != "" {
			return value
		}
	}
	return ""
}

// kustomization is the part of a kustomization.yaml that manifests/operator uses; another field would
// change what kubectl applies without this command knowing, so it is an error.
type kustomization struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Resources  []string `json:"resources"`
	Labels     []struct {
		Pairs map[string]string `json:"pairs"`
	} `json:"labels"`
}

func (in *input) readOperator(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, "kustomization.yaml"))
	if err != nil {
		return err
	}
	var k kustomization
	if err := sigsyaml.UnmarshalStrict(data, &k); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	for _, name := range k.Resources {
		objects, err := readObjects(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		for _, o := range objects {
			for _, set := range k.Labels {
				label(o, set.Pairs)
			}
			if err := in.take(o); err != nil {
				return fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
			}
		}
	}
	if in.namespace == nil || in.service == nil || in.deployment == nil || len(in.roles) == 0 {
		return fmt.Errorf("%s: Namespace, Service, Deployment or roles are missing", dir)
	}
	return nil
}

// take sorts an object of the operator into its place. A kind without a place in a bundle is refused:
// an installation by the lifecycle manager would lack it.
func (in *input) take(o object) error {
	kind, name := text(o, "kind"), text(o, "metadata", "name")
	switch kind {
	case "Namespace":
		in.namespace = o
	case "Service":
		in.service = o
	case "Deployment":
		in.deployment = o
	case "ServiceAccount":
		if name != packageName {
			return fmt.Errorf("ServiceAccount %s is not that of the operator", name)
		}
	case "Role", "ClusterRole":
		in.roles = append(in.roles, o)
	case "RoleBinding", "ClusterRoleBinding":
		return checkBinding(o)
	default:
		return fmt.Errorf("%s %s has no place in the bundle", kind, name)
	}
	return nil
}

// checkBinding makes sure that a binding says what the lifecycle manager will say by itself: the role of
// the same name for the operator's ServiceAccount.
func checkBinding(o object) error {
	subjects, _ := o["subjects"].([]any)
	if len(subjects) != 1 || text(subjects[0], "kind") != "ServiceAccount" || text(subjects[0], "name") != packageName ||
		text(subjects[0], "namespace") != suggestedNamespace || text(o, "roleRef", "name") != text(o, "metadata", "name") ||
		text(o, "roleRef", "kind") != strings.TrimSuffix(text(o, "kind"), "Binding") {
		return fmt.Errorf("%s %s does not bind the role of its name to the operator's ServiceAccount, and a bundle cannot say more", text(o, "kind"), text(o, "metadata", "name"))
	}
	return nil
}

func label(o object, pairs map[string]string) {
	metadata, _ := o["metadata"].(object)
	labels, _ := metadata["labels"].(object)
	if labels == nil {
		labels = object{}
		metadata["labels"] = labels
	}
	for key, value := range pairs {
		labels[key] = value
	}
}

func readCRDs(dir string) (map[string][]byte, error) {
	var k kustomization
	if err := readYAML(filepath.Join(dir, "kustomization.yaml"), &k); err != nil {
		return nil, err
	}
	crds := map[string][]byte{}
	for _, name := range k.Resources {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		crds[path.Base(name)] = data
	}
	return crds, nil
}

// readReleased reads the catalog entries of the history.
func (in *input) readReleased(dir string) error {
	in.released = map[string][]byte{}
	for _, version := range in.history {
		data, err := os.ReadFile(filepath.Join(dir, "v"+version+".yaml"))
		if err != nil {
			return fmt.Errorf("catalog entry of release %s: %w", version, err)
		}
		if err := checkEntry(data, version); err != nil {
			return fmt.Errorf("catalog entry of release %s: %w", version, err)
		}
		in.released[version] = data
	}
	return nil
}

func readYAML(file string, into any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := sigsyaml.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

func readObjects(file string) ([]object, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var objects []object
	reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		var o object
		if err := sigsyaml.Unmarshal(document, &o); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if len(o) > 0 {
			objects = append(objects, o)
		}
	}
}

// text returns the string at a path of keys, or "".
func text(value any, keys ...string) string {
	for _, key := range keys {
		mapping, _ := value.(object)
		value = mapping[key]
	}
	s, _ := value.(string)
	return s
}

func withoutNamespace(o object) object {
	out := clone(o)
	if metadata, ok := out["metadata"].(object); ok {
		delete(metadata, "namespace")
	}
	return out
}

// clone copies a decoded object; everything in it came from YAML.
func clone(o object) object {
	data, err := json.Marshal(o)
	if err != nil {
		return nil
	}
	var out object
	if err := sigsyaml.Unmarshal(data, &out); err != nil {
		return nil
	}
	return out
}

// documents writes objects as YAML with sorted keys.
func documents(objects ...any) ([]byte, error) {
	out := []byte("# Made by hack/bundle. Do not edit; run make generate.\n")
	for i, o := range objects {
		data, err := sigsyaml.Marshal(o)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out = append(out, "---\n"...)
		}
		out = append(out, data...)
	}
	return out, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
