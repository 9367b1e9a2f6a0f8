package imagesignature

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/names"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/validation"
)

// strategy prepares and checks signatures.
type strategy struct {
	runtime.ObjectTyper
	names.NameGenerator
}

var _ rest.RESTCreateStrategy = strategy{}

// NamespaceScoped is false.
func (strategy) NamespaceScoped() bool { return false }

// PrepareForCreate leaves type and content: all else is for a verifier to say.
func (strategy) PrepareForCreate(_ context.Context, obj runtime.Object) {
	signature := obj.(*imageapi.ImageSignature)
	signature.Conditions = nil
	signature.ImageIdentity = ""
	signature.SignedClaims = nil
	signature.Created = nil
	signature.IssuedBy, signature.IssuedTo = nil, nil
	// The signature is stored inside its Image, which has its own.
	signature.ManagedFields = nil
	signature.ResourceVersion = ""
}

// Validate checks a signature.
func (strategy) Validate(_ context.Context, obj runtime.Object) field.ErrorList {
	return validation.Bounded(validation.ImageSignature(obj.(*imageapi.ImageSignature)))
}

// Canonicalize has nothing to do.
func (strategy) Canonicalize(runtime.Object) {}

// WarningsOnCreate has nothing to say.
func (strategy) WarningsOnCreate(context.Context, runtime.Object) []string { return nil }
