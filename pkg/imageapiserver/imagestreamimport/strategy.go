package imagestreamimport

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/names"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/validation"
)

// strategy prepares and checks requests.
type strategy struct {
	runtime.ObjectTyper
	names.NameGenerator
}

var _ rest.RESTCreateStrategy = strategy{}

// NamespaceScoped is true.
func (strategy) NamespaceScoped() bool { return true }

// PrepareForCreate drops the status that the user sent.
func (strategy) PrepareForCreate(_ context.Context, obj runtime.Object) {
	obj.(*imageapi.ImageStreamImport).Status = imageapi.ImageStreamImportStatus{}
}

// Validate checks a request.
func (strategy) Validate(_ context.Context, obj runtime.Object) field.ErrorList {
	return validation.Bounded(validate(obj.(*imageapi.ImageStreamImport)))
}

// Canonicalize has nothing to do.
func (strategy) Canonicalize(runtime.Object) {}

// WarningsOnCreate has nothing to say.
func (strategy) WarningsOnCreate(context.Context, runtime.Object) []string { return nil }
