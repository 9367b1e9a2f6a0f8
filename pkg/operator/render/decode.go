package render

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/manifests"
)

// base returns the objects of one file, with the namespace and the common labels filled in.
func (s Settings) base(operand, file string) ([]*unstructured.Unstructured, error) {
	data, err := manifests.Operand(operand, file)
	if err != nil {
		return nil, err
	}
	data = bytes.ReplaceAll(data, []byte(registryv1.DefaultNamespace), []byte(s.Namespace))
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	var out []*unstructured.Unstructured
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("manifest %s/%s: %w", operand, file, err)
		}
		raw, err := yaml.YAMLToJSON(document)
		if err != nil {
			return nil, fmt.Errorf("manifest %s/%s: %w", operand, file, err)
		}
		if string(raw) == "null" {
			continue
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(raw); err != nil {
			return nil, fmt.Errorf("manifest %s/%s: %w", operand, file, err)
		}
		stamp(object)
		out = append(out, object)
	}
}

// single returns the only object of one file.
func (s Settings) single(operand, file string) (*unstructured.Unstructured, error) {
	objects, err := s.base(operand, file)
	if err != nil {
		return nil, err
	}
	if len(objects) != 1 {
		return nil, fmt.Errorf("manifest %s/%s holds %d objects, want 1", operand, file, len(objects))
	}
	return objects[0], nil
}

// several joins the objects of several files.
func (s Settings) several(operand string, files ...string) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for _, file := range files {
		objects, err := s.base(operand, file)
		if err != nil {
			return nil, err
		}
		out = append(out, objects...)
	}
	return out, nil
}

// typed decodes the only object of one file into a type of the API, refusing fields that the type does not
// have.
func typed[T any](s Settings, operand, file string) (*T, error) {
	object, err := s.single(operand, file)
	if err != nil {
		return nil, err
	}
	out := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, out, true); err != nil {
		return nil, fmt.Errorf("manifest %s/%s: %w", operand, file, err)
	}
	return out, nil
}

// untyped is the way back. Fields that a Go type always writes although nobody set them are dropped: an
// applied null or status would be owned by the operator.
func untyped(object any) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", object, err)
	}
	delete(content, "status")
	dropNull(content)
	dropEmpty(content, "affinity", "resources")
	return &unstructured.Unstructured{Object: content}, nil
}

// dropEmpty drops objects without content under some keys. Server-side apply takes an object away together with the
// last field in it that was ours, and would make it anew, empty, with the next request: two roll-outs for one edit.
func dropEmpty(value any, keys ...string) {
	switch typed := value.(type) {
	case map[string]any:
		for key, member := range typed {
			if object, ok := member.(map[string]any); ok && len(object) == 0 && slices.Contains(keys, key) {
				delete(typed, key)
				continue
			}
			dropEmpty(member, keys...)
		}
	case []any:
		for _, member := range typed {
			dropEmpty(member, keys...)
		}
	}
}

func dropNull(value any) {
	switch typed := value.(type) {
	case map[string]any:
		for key, member := range typed {
			if member == nil {
				delete(typed, key)
				continue
			}
			dropNull(member)
		}
	case []any:
		for _, member := range typed {
			dropNull(member)
		}
	}
}

func stamp(object *unstructured.Unstructured) {
	labels := object.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[registryv1.LabelPartOf] = registryv1.PartOf
	labels[registryv1.LabelManagedBy] = registryv1.OperatorName
	object.SetLabels(labels)
}

// newObject starts an object that has no file because all of its content is computed.
func (s Settings) newObject(apiVersion, kind, name, component string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion(apiVersion)
	object.SetKind(kind)
	object.SetName(name)
	object.SetNamespace(s.Namespace)
	object.SetLabels(map[string]string{registryv1.LabelName: registryv1.RegistryName, registryv1.LabelComponent: component})
	stamp(object)
	return object
}
