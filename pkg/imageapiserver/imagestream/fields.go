package imagestream

import (
	"fmt"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
)

// attrsOf returns labels and selectable fields of a stream; the repository in
// its status is the current one, as clients see it.
func attrsOf(hosts repository.HostSource) storage.AttrFunc {
	return func(obj runtime.Object) (labels.Set, fields.Set, error) {
		stream, ok := obj.(*imageapi.ImageStream)
		if !ok {
			return nil, nil, fmt.Errorf("%T is not an ImageStream", obj)
		}
		internal, _ := hosts().Repositories(stream.Namespace, stream.Name, stream.Spec.DockerImageRepository)
		own := fields.Set{
			"spec.dockerImageRepository":   stream.Spec.DockerImageRepository,
			"status.dockerImageRepository": internal,
		}
		return stream.Labels, generic.AddObjectMetaFieldsSet(own, &stream.ObjectMeta, true), nil
	}
}

func predicate(attrs storage.AttrFunc) func(labels.Selector, fields.Selector) storage.SelectionPredicate {
	return func(label labels.Selector, field fields.Selector) storage.SelectionPredicate {
		return storage.SelectionPredicate{Label: label, Field: field, GetAttrs: attrs}
	}
}
