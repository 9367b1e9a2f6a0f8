package imagestream

import (
	"context"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/allowlist"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

type anyRegistryKey struct{}

// WithAnyRegistry marks writes that the list of allowed registries does not
// bind: those on behalf of somebody who may create images.
func WithAnyRegistry(ctx context.Context) context.Context {
	return context.WithValue(ctx, anyRegistryKey{}, true)
}

// checkRegistries refuses what a stream names in registries that are not
// allowed. What old, which may be nil, names already stays allowed together
// with its repository: the list may have become shorter, and existing streams
// must stay editable.
func (r *resolver) checkRegistries(ctx context.Context, stream, old *imageapi.ImageStream) field.ErrorList {
	if r.allowed == nil || ctx.Value(anyRegistryKey{}) != nil {
		return nil
	}
	list := r.allowed()
	if list.AllowsAll() {
		return nil
	}
	known := map[string]bool{}
	if old != nil {
		for _, named := range namedBy(old) {
			known[named.pullSpec] = true
		}
	}
	list = list.Allowing(slices.Collect(maps.Keys(known)))
	var errs field.ErrorList
	for _, named := range namedBy(stream) {
		if known[named.pullSpec] {
			continue
		}
		if problem := list.Check(named.path, named.pullSpec, allowlist.TransportOf(named.insecure)); problem != nil {
			errs = append(errs, problem)
		}
	}
	return errs
}

// named is a pull spec in a stream.
type named struct {
	path     *field.Path
	pullSpec string
	insecure bool
}

// namedBy returns every pull spec of a stream, in the order of its tags.
func namedBy(stream *imageapi.ImageStream) []named {
	insecure := stream.Annotations[imagev1.InsecureRepositoryAnnotation] == "true"
	var all []named
	if repository := stream.Spec.DockerImageRepository; repository != "" {
		all = append(all, named{field.NewPath("spec", "dockerImageRepository"), repository, insecure})
	}
	for _, name := range slices.Sorted(maps.Keys(stream.Spec.Tags)) {
		tag := stream.Spec.Tags[name]
		if tag.From != nil && tag.From.Kind == imagev1.KindDockerImage {
			path := field.NewPath("spec", "tags").Key(name).Child("from", "name")
			all = append(all, named{path, tag.From.Name, insecure || tag.ImportPolicy.Insecure})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(stream.Status.Tags)) {
		path := field.NewPath("status", "tags").Key(name).Child("items")
		anyTransport := insecure || stream.Spec.Tags[name].ImportPolicy.Insecure
		for i, event := range stream.Status.Tags[name].Items {
			all = append(all, named{path.Index(i).Child("dockerImageReference"), event.DockerImageReference, anyTransport})
		}
	}
	return all
}
