package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"image.alauda.io/registry/pkg/pruner/objects"
)

// kinds are the custom kinds of a fake cluster: what discovery says, and the objects by resource.
type kinds struct {
	lists   []*metav1.APIResourceList
	failed  map[schema.GroupVersion]error
	objects map[string][]map[string]any
	errors  map[string]error
}

func (k *kinds) Resources(context.Context) ([]*metav1.APIResourceList, map[schema.GroupVersion]error, error) {
	return k.lists, k.failed, nil
}

func (k *kinds) Schemas(context.Context) (map[schema.GroupVersion]string, error) {
	return map[schema.GroupVersion]string{}, nil
}

func (k *kinds) Document(context.Context, string) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("{}")), nil
}

func (k *kinds) List(_ context.Context, resource schema.GroupVersionResource, _ string, _ metav1.ListOptions, visit func(map[string]any)) (objects.Page, error) {
	if err := k.errors[resource.Resource]; err != nil {
		return objects.Page{}, err
	}
	for _, object := range k.objects[resource.Resource] {
		visit(object)
	}
	return objects.Page{ResourceVersion: "1", Items: len(k.objects[resource.Resource])}, nil
}

func (k *kinds) Watch(context.Context, schema.GroupVersionResource, string, metav1.ListOptions) (watch.Interface, error) {
	return watch.NewFake(), nil
}

// serve adds a kind that can be listed and watched.
func (k *kinds) serve(groupVersion, resource, kind string) {
	k.lists = append(k.lists, &metav1.APIResourceList{GroupVersion: groupVersion, APIResources: []metav1.APIResource{
		{Name: resource, Kind: kind, Namespaced: true, Verbs: metav1.Verbs{"get", "list", "watch"}},
	}})
}

var errUnavailable = errors.New("unavailable")

// using is an object whose field names an image.
func using(name, field, image string) map[string]any {
	return map[string]any{
		"metadata": map[string]any{"namespace": "ns", "name": name},
		"spec":     map[string]any{field: fmt.Sprint(image)},
	}
}
