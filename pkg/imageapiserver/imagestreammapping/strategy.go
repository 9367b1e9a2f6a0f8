package imagestreammapping

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/names"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/validation"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
)

// strategy prepares and checks mappings.
type strategy struct {
	runtime.ObjectTyper
	names.NameGenerator
	hosts repository.HostSource
}

var _ rest.RESTCreateStrategy = strategy{}

// NamespaceScoped is true.
func (strategy) NamespaceScoped() bool { return true }

// PrepareForCreate names the stream's own repository when the image comes
// without a reference. Signatures have their own resource.
func (s strategy) PrepareForCreate(_ context.Context, obj runtime.Object) {
	mapping := obj.(*imageapi.ImageStreamMapping)
	if mapping.Image.DockerImageReference == "" && mapping.Image.Name != "" {
		if spec, ok := s.hosts().PullSpec(mapping.Namespace, mapping.Name, mapping.Image.Name); ok {
			mapping.Image.DockerImageReference = spec
		}
	}
	mapping.Image.Signatures = nil
}

// Validate checks a mapping.
func (strategy) Validate(_ context.Context, obj runtime.Object) field.ErrorList {
	return validation.Bounded(validation.ImageStreamMapping(obj.(*imageapi.ImageStreamMapping)))
}

// Canonicalize has nothing to do.
func (strategy) Canonicalize(runtime.Object) {}

// WarningsOnCreate has nothing to say.
func (strategy) WarningsOnCreate(context.Context, runtime.Object) []string { return nil }
