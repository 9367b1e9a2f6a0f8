package importer

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/history"
)

// Work is what of a stream is to be imported.
type Work struct {
	// Repository asks for the tags of spec.dockerImageRepository.
	Repository bool
	// Tags are names of spec tags, sorted.
	Tags []string
}

// Empty tells that there is nothing to do.
func (w Work) Empty() bool { return !w.Repository && len(w.Tags) == 0 }

// Needed returns what the spec of a stream asks for and its status does not have yet.
func Needed(stream *imageapi.ImageStream) Work {
	checked := stream.Annotations[imagev1.DockerImageRepositoryCheckAnnotation] != ""
	if !checked && stream.Spec.DockerImageRepository != "" {
		return Work{Repository: true, Tags: tagsWhere(stream, Importable)}
	}
	return Work{Tags: tagsWhere(stream, func(tag imageapi.TagReference) bool {
		if !Importable(tag) {
			return false
		}
		// Without the annotation nobody has looked at the stream yet: a tag without generation counts, too.
		if tag.Generation == nil {
			return !checked
		}
		return *tag.Generation > ObservedGeneration(stream, tag.Name)
	})}
}

// Importable tells whether a spec tag names something outside that has to be fetched.
func Importable(tag imageapi.TagReference) bool {
	return tag.From != nil && tag.From.Kind == imagev1.KindDockerImage && tag.From.Name != "" && !tag.Reference
}

// ObservedGeneration is the newest generation of a spec tag about which the status says something.
func ObservedGeneration(stream *imageapi.ImageStream, tag string) int64 {
	var observed int64
	if head, found := history.Head(stream, tag); found {
		observed = head.Generation
	}
	if condition := importCondition(stream, tag); condition != nil {
		observed = max(observed, condition.Generation)
	}
	return observed
}

// failed returns the condition of a tag whose last import failed, nil when there is none.
func failed(stream *imageapi.ImageStream, tag string) *imageapi.TagEventCondition {
	condition := importCondition(stream, tag)
	if condition == nil || condition.Status != corev1.ConditionFalse {
		return nil
	}
	return condition
}

func importCondition(stream *imageapi.ImageStream, tag string) *imageapi.TagEventCondition {
	conditions := stream.Status.Tags[tag].Conditions
	for i := range conditions {
		if conditions[i].Type == imageapi.ImportSuccess {
			return &conditions[i]
		}
	}
	return nil
}

func tagsWhere(stream *imageapi.ImageStream, wanted func(imageapi.TagReference) bool) []string {
	var names []string
	for name, tag := range stream.Spec.Tags {
		tag.Name = name
		if wanted(tag) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
