package imagestream

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/names"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/validation"
)

// strategy is what all three strategies share; by itself it is the internal
// one, which takes spec and status together.
type strategy struct {
	runtime.ObjectTyper
	names.NameGenerator
	*resolver
}

// specStrategy is for users: the status follows the spec.
type specStrategy struct{ strategy }

// statusStrategy is for status writers: everything but the status stays.
type statusStrategy struct{ strategy }

var (
	_ rest.RESTCreateStrategy  = specStrategy{}
	_ rest.RESTUpdateStrategy  = strategy{}
	_ rest.RESTUpdateStrategy  = statusStrategy{}
	_ rest.ResetFieldsStrategy = specStrategy{}
	_ rest.ResetFieldsStrategy = statusStrategy{}
)

// NamespaceScoped is true.
func (strategy) NamespaceScoped() bool { return true }

// AllowCreateOnUpdate is false; server-side apply creates by itself.
func (strategy) AllowCreateOnUpdate(context.Context) bool { return false }

// AllowUnconditionalUpdate is false: a writer must have seen what he replaces.
func (strategy) AllowUnconditionalUpdate(context.Context) bool { return false }

// Canonicalize has nothing to do.
func (strategy) Canonicalize(runtime.Object) {}

// WarningsOnCreate has nothing to say.
func (strategy) WarningsOnCreate(context.Context, runtime.Object) []string { return nil }

// WarningsOnUpdate has nothing to say.
func (strategy) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}

// PrepareForCreate drops the status that the user sent.
func (s specStrategy) PrepareForCreate(_ context.Context, obj runtime.Object) {
	stream := obj.(*imageapi.ImageStream)
	stream.Status = imageapi.ImageStreamStatus{}
	firstGenerations(stream)
	s.decorate(stream)
}

// Validate resolves the tags and checks the result. The tags are resolved here
// because only here errors can be returned, and what is checked is what is
// stored.
func (s strategy) Validate(ctx context.Context, obj runtime.Object) field.ErrorList {
	stream := obj.(*imageapi.ImageStream)
	errs := s.resolve(ctx, stream, nil)
	errs = append(errs, s.checkRegistries(ctx, stream, nil)...)
	return validation.Bounded(append(errs, validation.ImageStream(stream)...))
}

// PrepareForUpdate restores the status and sets generations.
func (s specStrategy) PrepareForUpdate(ctx context.Context, obj, oldObj runtime.Object) {
	stream, old := obj.(*imageapi.ImageStream), oldObj.(*imageapi.ImageStream)
	stream.Status = *old.Status.DeepCopy()
	s.strategy.PrepareForUpdate(ctx, obj, oldObj)
}

// PrepareForUpdate sets generations and repository strings.
func (s strategy) PrepareForUpdate(_ context.Context, obj, oldObj runtime.Object) {
	stream, old := obj.(*imageapi.ImageStream), oldObj.(*imageapi.ImageStream)
	dropEmptyTags(stream)
	nextGenerations(stream, old)
	s.decorate(stream)
}

// ValidateUpdate resolves new and changed tags and checks the result.
func (s strategy) ValidateUpdate(ctx context.Context, obj, oldObj runtime.Object) field.ErrorList {
	stream, old := obj.(*imageapi.ImageStream), oldObj.(*imageapi.ImageStream)
	errs := s.resolve(ctx, stream, old)
	errs = append(errs, s.checkRegistries(ctx, stream, old)...)
	return validation.Bounded(append(errs, validation.ImageStreamUpdate(stream, old)...))
}

// GetResetFields names what a user cannot set.
func (specStrategy) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return resetFields("status")
}

// PrepareForUpdate keeps everything but the status.
func (s statusStrategy) PrepareForUpdate(_ context.Context, obj, oldObj runtime.Object) {
	stream, old := obj.(*imageapi.ImageStream), oldObj.(*imageapi.ImageStream)
	stream.Spec = *old.Spec.DeepCopy()
	meta := old.ObjectMeta.DeepCopy()
	meta.ResourceVersion = stream.ResourceVersion
	meta.ManagedFields = stream.ManagedFields
	stream.ObjectMeta = *meta
	dropEmptyTags(stream)
	settleEventGenerations(stream, old)
	s.decorate(stream)
}

// ValidateUpdate checks the status; tags do not track each other here, because
// writers that add events do that themselves.
func (s statusStrategy) ValidateUpdate(ctx context.Context, obj, oldObj runtime.Object) field.ErrorList {
	stream, old := obj.(*imageapi.ImageStream), oldObj.(*imageapi.ImageStream)
	errs := s.checkRegistries(ctx, stream, old)
	return validation.Bounded(append(errs, validation.ImageStreamUpdate(stream, old)...))
}

// GetResetFields names what a status writer cannot set.
func (statusStrategy) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return resetFields("spec", "metadata")
}

func resetFields(names ...string) map[fieldpath.APIVersion]*fieldpath.Set {
	set := fieldpath.NewSet()
	for _, name := range names {
		set.Insert(fieldpath.MakePathOrDie(name))
	}
	return map[fieldpath.APIVersion]*fieldpath.Set{"image.alauda.io/v1": set}
}

// decorate sets the repository strings of a stream that the caller owns.
func (r *resolver) decorate(stream *imageapi.ImageStream) {
	stream.Status.DockerImageRepository, stream.Status.PublicDockerImageRepository =
		r.hosts().Repositories(stream.Namespace, stream.Name, stream.Spec.DockerImageRepository)
}

func dropEmptyTags(stream *imageapi.ImageStream) {
	for tag, list := range stream.Status.Tags {
		if len(list.Items) == 0 && len(list.Conditions) == 0 {
			delete(stream.Status.Tags, tag)
		}
	}
}
