package imagestream

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// nextGenerations sets the generation of an updated stream and of its spec
// tags. Users cannot choose generations; a tag generation of 0 alone has a
// meaning, it asks for a new import.
func nextGenerations(stream, old *imageapi.ImageStream) {
	stream.Generation = old.Generation
	for name, tag := range stream.Spec.Tags {
		if isZero(tag.Generation) {
			continue
		}
		if before, existed := old.Spec.Tags[name]; existed {
			tag.Generation = copyOf(before.Generation)
		}
		stream.Spec.Tags[name] = tag
	}
	if stream.Generation == 0 || !equality.Semantic.DeepEqual(stream.Spec, old.Spec) {
		stream.Generation = old.Generation + 1
	}
	for name, tag := range stream.Spec.Tags {
		before, existed := old.Spec.Tags[name]
		if !existed || tagChanged(stream.Namespace, before, tag) || isZero(tag.Generation) || tag.Generation == nil {
			generation := stream.Generation
			tag.Generation = &generation
			stream.Spec.Tags[name] = tag
		}
	}
}

// firstGenerations sets the generations of a new stream.
func firstGenerations(stream *imageapi.ImageStream) {
	stream.Generation = 1
	for name, tag := range stream.Spec.Tags {
		generation := stream.Generation
		tag.Generation = &generation
		stream.Spec.Tags[name] = tag
	}
}

// tagChanged tells whether a spec tag names something else to resolve or
// import than before. What only matters to readers of the tag (annotations,
// the reference policy) or to the timing of imports does not count.
func tagChanged(namespace string, before, now imageapi.TagReference) bool {
	if now.From == nil || now.From.Kind == "" && now.From.Name == "" {
		return false
	}
	if isZero(now.Generation) && before.Generation != nil && *before.Generation != 0 {
		return true
	}
	from := before.From
	if from == nil {
		from = &corev1.ObjectReference{}
	}
	return from.Kind != now.From.Kind ||
		from.Name != now.From.Name ||
		namespaceOr(from.Namespace, namespace) != namespaceOr(now.From.Namespace, namespace) ||
		before.Reference != now.Reference ||
		before.ImportPolicy.ImportMode != now.ImportPolicy.ImportMode ||
		before.ImportPolicy.Insecure != now.ImportPolicy.Insecure
}

// tagsToResolve returns the names of the spec tags that are new or changed,
// sorted. It is asked after nextGenerations, which gave those tags another
// generation.
func tagsToResolve(stream, old *imageapi.ImageStream) []string {
	var names []string
	for name, tag := range stream.Spec.Tags {
		if old != nil {
			before, existed := old.Spec.Tags[name]
			if existed && !tagChanged(stream.Namespace, before, tag) && equality.Semantic.DeepEqual(before.Generation, tag.Generation) {
				continue
			}
		}
		if tag.From != nil {
			names = append(names, name)
		}
	}
	return sorted(names)
}

// settleEventGenerations gives the events that a status writer left without
// generation the one that fits.
func settleEventGenerations(stream, old *imageapi.ImageStream) {
	for tag, list := range stream.Status.Tags {
		if len(list.Items) == 0 || list.Items[0].Generation != 0 {
			continue
		}
		head := &list.Items[0]
		before, existed := old.Status.Tags[tag]
		unchanged := existed && len(before.Items) > 0 &&
			before.Items[0].Image == head.Image &&
			before.Items[0].DockerImageReference == head.DockerImageReference &&
			before.Items[0].Generation <= stream.Generation
		spec, wanted := stream.Spec.Tags[tag]
		switch {
		case !existed || unchanged:
			head.Generation = stream.Generation
		case wanted && spec.Generation != nil:
			head.Generation = *spec.Generation
		default:
			head.Generation = stream.Generation
		}
	}
}

func isZero(generation *int64) bool { return generation != nil && *generation == 0 }

func copyOf(generation *int64) *int64 {
	if generation == nil {
		return nil
	}
	value := *generation
	return &value
}

func namespaceOr(namespace, fallback string) string {
	if namespace == "" {
		return fallback
	}
	return namespace
}
