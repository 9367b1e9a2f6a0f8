package image

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/utils/clock"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// REST serves images.
type REST struct {
	*registry.Store
}

var (
	_ rest.StandardStorage      = &REST{}
	_ rest.SingularNameProvider = &REST{}
)

// NewREST builds the store of images.
func NewREST(options generic.RESTOptionsGetter, typer runtime.ObjectTyper, clock clock.PassiveClock) (*REST, error) {
	strategy := newStrategy(typer, clock)
	store := &registry.Store{
		NewFunc:                   func() runtime.Object { return &imageapi.Image{} },
		NewListFunc:               func() runtime.Object { return &imageapi.ImageList{} },
		DefaultQualifiedResource:  imageapi.Resource("images"),
		SingularQualifiedResource: imageapi.Resource("image"),
		CreateStrategy:            strategy,
		UpdateStrategy:            strategy,
		DeleteStrategy:            strategy,
		TableConvertor:            newTable(clock),
	}
	if err := store.CompleteWithOptions(&generic.StoreOptions{RESTOptions: options}); err != nil {
		return nil, fmt.Errorf("store of images: %w", err)
	}
	return &REST{Store: store}, nil
}

// Find reads one image. Errors name the requested resource, as the generic
// store writes them.
func (r *REST) Find(ctx context.Context, name string) (*imageapi.Image, error) {
	obj, err := r.Store.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return obj.(*imageapi.Image), nil
}

// Record creates an image on behalf of another resource of the group.
func (r *REST) Record(ctx context.Context, image *imageapi.Image, dryRun []string) (*imageapi.Image, error) {
	image = image.DeepCopy()
	image.Namespace = ""
	ctx = request.WithNamespace(ctx, metav1.NamespaceNone)
	rest.FillObjectMetaSystemFields(&image.ObjectMeta)
	obj, err := r.Store.Create(ctx, image, rest.ValidateAllObjectFunc, &metav1.CreateOptions{DryRun: dryRun})
	if err != nil {
		return nil, err
	}
	return obj.(*imageapi.Image), nil
}

// Change applies fn to the current state of an image. An fn that changes
// nothing writes nothing.
func (r *REST) Change(ctx context.Context, name string, fn func(*imageapi.Image)) error {
	ctx = request.WithNamespace(ctx, metav1.NamespaceNone)
	_, _, err := r.Store.Update(ctx, name, change{name: name, fn: fn}, rest.ValidateAllObjectFunc, rest.ValidateAllObjectUpdateFunc, false, &metav1.UpdateOptions{})
	return err
}

// change applies a function to whatever state the store has.
type change struct {
	name string
	fn   func(*imageapi.Image)
}

// Preconditions are none: the function applies to any state.
func (change) Preconditions() *metav1.Preconditions { return nil }

// UpdatedObject returns the changed copy.
func (c change) UpdatedObject(_ context.Context, current runtime.Object) (runtime.Object, error) {
	image, ok := current.DeepCopyObject().(*imageapi.Image)
	if !ok {
		return nil, fmt.Errorf("image %s: the store returned a %T", c.name, current)
	}
	c.fn(image)
	return image, nil
}
