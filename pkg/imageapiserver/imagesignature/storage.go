// Package imagesignature serves imagesignatures: signatures are added to an
// Image and removed from it one by one, without rewriting the Image.
//
// In: a signature named "<image>@<signature>", or such a name. Out: the Image
// with one signature more or less. What a verifier says about a signature
// (conditions, identity, claims) cannot come in on this way: it is saved by an
// update of the Image, for which other rights are needed.
//
// Nothing is stored under this resource, and no signature is verified here.
package imagesignature

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/names"

	"image.alauda.io/api/image/reference"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// Images changes Images; an error of fn comes back as it is.
type Images interface {
	Mutate(ctx context.Context, name string, dryRun []string, fn func(*imageapi.Image) error) (*imageapi.Image, error)
}

// REST serves imagesignatures.
type REST struct {
	images   Images
	strategy strategy
	rest.TableConvertor
}

var (
	_ rest.Creater              = &REST{}
	_ rest.GracefulDeleter      = &REST{}
	_ rest.Scoper               = &REST{}
	_ rest.SingularNameProvider = &REST{}
)

// NewREST serves the signatures of images.
func NewREST(images Images, typer runtime.ObjectTyper) *REST {
	return &REST{
		images:         images,
		strategy:       strategy{ObjectTyper: typer, NameGenerator: names.SimpleNameGenerator},
		TableConvertor: rest.NewDefaultTableConvertor(resource()),
	}
}

// New implements rest.Storage.
func (*REST) New() runtime.Object { return &imageapi.ImageSignature{} }

// Destroy has nothing to release.
func (*REST) Destroy() {}

// NamespaceScoped is false, as for Images.
func (*REST) NamespaceScoped() bool { return false }

// GetSingularName implements rest.SingularNameProvider.
func (*REST) GetSingularName() string { return "imagesignature" }

// Create adds a signature to its Image.
func (r *REST) Create(ctx context.Context, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	signature, ok := obj.(*imageapi.ImageSignature)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("%T is not an ImageSignature", obj))
	}
	rest.FillObjectMetaSystemFields(&signature.ObjectMeta)
	if err := rest.BeforeCreate(r.strategy, ctx, signature); err != nil {
		return nil, err
	}
	if validate != nil {
		if err := validate(ctx, signature.DeepCopyObject()); err != nil {
			return nil, err
		}
	}
	imageName, _, err := reference.SplitSignature(signature.Name)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	image, err := r.images.Mutate(ctx, imageName, options.DryRun, func(image *imageapi.Image) error {
		if slices.ContainsFunc(image.Signatures, sameAs(signature)) {
			return apierrors.NewAlreadyExists(resource(), signature.Name)
		}
		image.Signatures = append(image.Signatures, *signature.DeepCopy())
		return nil
	})
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(image.Signatures, named(signature.Name))
	if at < 0 {
		return nil, apierrors.NewInternalError(fmt.Errorf("image %s was stored without signature %s", imageName, signature.Name))
	}
	return image.Signatures[at].DeepCopy(), nil
}

// Delete removes a signature from its Image.
func (r *REST) Delete(ctx context.Context, name string, validate rest.ValidateObjectFunc, options *metav1.DeleteOptions) (runtime.Object, bool, error) {
	imageName, _, err := reference.SplitSignature(name)
	if err != nil {
		return nil, false, apierrors.NewBadRequest(err.Error())
	}
	if options == nil {
		options = &metav1.DeleteOptions{}
	}
	_, err = r.images.Mutate(ctx, imageName, options.DryRun, func(image *imageapi.Image) error {
		at := slices.IndexFunc(image.Signatures, named(name))
		if at < 0 {
			return apierrors.NewNotFound(resource(), name)
		}
		if err := check(&image.Signatures[at], image, options.Preconditions); err != nil {
			return err
		}
		if validate != nil {
			if err := validate(ctx, image.Signatures[at].DeepCopyObject()); err != nil {
				return err
			}
		}
		image.Signatures = slices.Delete(image.Signatures, at, at+1)
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	return &metav1.Status{Status: metav1.StatusSuccess}, true, nil
}

// check compares preconditions with the signature, which has its own UID, and
// with the Image, whose resourceVersion is also that of its signatures.
func check(signature *imageapi.ImageSignature, image *imageapi.Image, conditions *metav1.Preconditions) error {
	if conditions == nil {
		return nil
	}
	if conditions.UID != nil && *conditions.UID != signature.UID {
		return apierrors.NewConflict(resource(), signature.Name, fmt.Errorf("the signature has UID %q, not %q", signature.UID, *conditions.UID))
	}
	if conditions.ResourceVersion != nil && *conditions.ResourceVersion != image.ResourceVersion {
		return apierrors.NewConflict(resource(), signature.Name, fmt.Errorf("the image has resourceVersion %s, not %s", image.ResourceVersion, *conditions.ResourceVersion))
	}
	return nil
}

func named(name string) func(imageapi.ImageSignature) bool {
	return func(other imageapi.ImageSignature) bool { return other.Name == name }
}

// sameAs tells whether another signature has the name or the content of this.
func sameAs(signature *imageapi.ImageSignature) func(imageapi.ImageSignature) bool {
	return func(other imageapi.ImageSignature) bool {
		return other.Name == signature.Name || other.Type == signature.Type && bytes.Equal(other.Content, signature.Content)
	}
}

func resource() schema.GroupResource { return imageapi.Resource("imagesignatures") }
