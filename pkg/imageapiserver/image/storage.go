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
	"image.alauda.io/registry/pkg/imageapiserver/clienterrors"
)

// Options are what the store of images needs.
type Options struct {
	RESTOptions generic.RESTOptionsGetter
	Typer       runtime.ObjectTyper
	// Size measures images; it refuses what cannot be stored with an answer
	// that says so.
	Size  Sizer
	Clock clock.PassiveClock
}

// REST serves images.
type REST struct {
	*registry.Store
	size Sizer
}

var (
	_ rest.StandardStorage      = &REST{}
	_ rest.SingularNameProvider = &REST{}
)

// NewREST builds the store of images.
func NewREST(options Options) (*REST, error) {
	strategy := newStrategy(options.Typer, options.Clock)
	store := &registry.Store{
		NewFunc:                   func() runtime.Object { return &imageapi.Image{} },
		NewListFunc:               func() runtime.Object { return &imageapi.ImageList{} },
		DefaultQualifiedResource:  imageapi.Resource("images"),
		SingularQualifiedResource: imageapi.Resource("image"),
		CreateStrategy:            strategy,
		UpdateStrategy:            strategy,
		DeleteStrategy:            strategy,
		TableConvertor:            newTable(options.Clock),
	}
	if err := store.CompleteWithOptions(&generic.StoreOptions{RESTOptions: options.RESTOptions}); err != nil {
		return nil, fmt.Errorf("store of images: %w", err)
	}
	return &REST{Store: store, size: options.Size}, nil
}

// Create stores a new image.
func (r *REST) Create(ctx context.Context, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	return r.Store.Create(ctx, obj, r.sizedCreate(validate), options)
}

// Update stores a changed image.
func (r *REST) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc, update rest.ValidateObjectUpdateFunc, forceCreate bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	return r.Store.Update(ctx, name, clienterrors.Of(info), r.sizedCreate(create), r.sizedUpdate(update), forceCreate, options)
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
	obj, err := r.Create(ctx, image, rest.ValidateAllObjectFunc, &metav1.CreateOptions{DryRun: dryRun})
	if err != nil {
		return nil, err
	}
	return obj.(*imageapi.Image), nil
}

// Change applies fn to the current state of an image. An fn that changes
// nothing writes nothing.
func (r *REST) Change(ctx context.Context, name string, fn func(*imageapi.Image)) error {
	_, err := r.Mutate(ctx, name, nil, func(image *imageapi.Image) error {
		fn(image)
		return nil
	})
	return err
}

// Mutate applies fn to the current state of an image and returns what was
// stored. fn may be called several times, each time with a fresh copy. An
// error of fn is returned as it is, and an fn that changes nothing writes
// nothing.
func (r *REST) Mutate(ctx context.Context, name string, dryRun []string, fn func(*imageapi.Image) error) (*imageapi.Image, error) {
	ctx = request.WithNamespace(ctx, metav1.NamespaceNone)
	obj, _, err := r.Update(ctx, name, mutation{name: name, fn: fn}, rest.ValidateAllObjectFunc, rest.ValidateAllObjectUpdateFunc, false, &metav1.UpdateOptions{DryRun: dryRun})
	if err != nil {
		return nil, err
	}
	return obj.(*imageapi.Image), nil
}

// mutation applies a function to whatever state the store has.
type mutation struct {
	name string
	fn   func(*imageapi.Image) error
}

// Preconditions are none: the function applies to any state.
func (mutation) Preconditions() *metav1.Preconditions { return nil }

// UpdatedObject returns the changed copy.
func (m mutation) UpdatedObject(_ context.Context, current runtime.Object) (runtime.Object, error) {
	image, ok := current.DeepCopyObject().(*imageapi.Image)
	if !ok {
		return nil, fmt.Errorf("image %s: the store returned a %T", m.name, current)
	}
	if err := m.fn(image); err != nil {
		return nil, err
	}
	return image, nil
}
