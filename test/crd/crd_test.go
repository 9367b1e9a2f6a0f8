//go:build component

// Package crd tests the custom resource definitions below manifests/ against a
// real kube-apiserver: which objects are refused and with which words, which
// defaults are filled in, and what kubectl prints.
//
// In: the YAML files as they are shipped. Out: nothing but test results; the
// operator that works on these objects is not part of it.
package crd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"

	"image.alauda.io/registry/test/controlplane"
)

var (
	shared      = controlplane.NewShared()
	definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	configs     = schema.GroupVersionResource{Group: "imageregistry.operator.alauda.io", Version: "v1", Resource: "configs"}
	pruners     = schema.GroupVersionResource{Group: "imageregistry.operator.alauda.io", Version: "v1", Resource: "imagepruners"}
	images      = schema.GroupVersionResource{Group: "storage.image.alauda.io", Version: "v1", Resource: "storedimages"}
	streams     = schema.GroupVersionResource{Group: "storage.image.alauda.io", Version: "v1", Resource: "storedimagestreams"}
)

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

// install applies all definitions and waits until they are served.
func install(t *testing.T) dynamic.Interface {
	t.Helper()
	client, err := dynamic.NewForConfig(shared.Get(t).Config)
	if err != nil {
		t.Fatalf("dynamic client: %v", err)
	}
	files := append(glob(t, "../../manifests/crd/imageregistry*.yaml"), glob(t, "../../manifests/operands/image-api-server/crd-*.yaml")...)
	for _, file := range files {
		for _, definition := range read(t, file) {
			_, err := client.Resource(definitions).Create(t.Context(), definition, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
			if err != nil && !apierrors.IsAlreadyExists(err) {
				t.Fatalf("%s: %v", file, err)
			}
		}
	}
	for _, resource := range []schema.GroupVersionResource{configs, pruners, images, streams} {
		err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
			_, err := client.Resource(resource).List(ctx, metav1.ListOptions{})
			return err == nil, nil
		})
		if err != nil {
			t.Fatalf("%s is not served: %v", resource.Resource, err)
		}
	}
	return client
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) != 2 {
		t.Fatalf("%s: got %v, %v, want two files", pattern, files, err)
	}
	return files
}

func read(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(data))
}

func parse(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewBufferString(text), 4096)
	for {
		object := &unstructured.Unstructured{}
		switch err := decoder.Decode(&object.Object); {
		case errors.Is(err, io.EOF):
			return objects
		case err != nil:
			t.Fatalf("YAML %q: %v", text, err)
		case object.Object != nil:
			objects = append(objects, object)
		}
	}
}

// config is a Config/cluster with a spec in YAML flow style.
func config(t *testing.T, spec string) *unstructured.Unstructured {
	t.Helper()
	return parse(t, `{apiVersion: imageregistry.operator.alauda.io/v1, kind: Config, metadata: {name: cluster}, spec: `+spec+`}`)[0]
}

func pruner(t *testing.T, spec string) *unstructured.Unstructured {
	t.Helper()
	return parse(t, `{apiVersion: imageregistry.operator.alauda.io/v1, kind: ImagePruner, metadata: {name: cluster}, spec: `+spec+`}`)[0]
}

// try creates an object without storing it.
func try(t *testing.T, client dynamic.Interface, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	t.Helper()
	resource := configs
	if object.GetKind() == "ImagePruner" {
		resource = pruners
	}
	return client.Resource(resource).Create(t.Context(), object, metav1.CreateOptions{
		DryRun:          []string{metav1.DryRunAll},
		FieldValidation: metav1.FieldValidationStrict,
	})
}

// wantRefusal checks for a 422 with one cause on a field whose message has the
// given words.
func wantRefusal(t *testing.T, err error, field, words string) {
	t.Helper()
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Code != 422 || status.Status().Reason != metav1.StatusReasonInvalid {
		t.Fatalf("got %v, want a refusal with 422 Invalid", err)
	}
	if !strings.Contains(err.Error(), words) {
		t.Errorf("the refusal reads %q, want it to contain %q", err, words)
	}
	for _, cause := range status.Status().Details.Causes {
		if cause.Field == field {
			return
		}
	}
	t.Errorf("causes are %+v, want one on %q", status.Status().Details.Causes, field)
}

func pretty(object any) string {
	data, err := json.MarshalIndent(object, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(data)
}
