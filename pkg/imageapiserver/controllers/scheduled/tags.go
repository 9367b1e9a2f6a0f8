package scheduled

import (
	"slices"
	"time"

	"image.alauda.io/api/image/reference"
	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/controllers/importer"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/history"
)

// Tags returns the names of the tags of a stream that are imported on schedule, sorted. A reference by digest
// always gives the same image, so it is only repeated until it has been imported once.
func Tags(stream *imageapi.ImageStream) []string {
	var names []string
	for name, tag := range stream.Spec.Tags {
		tag.Name = name
		if tag.ImportPolicy.Scheduled && importer.Importable(tag) && !(isDigest(tag.From.Name) && imported(stream, tag)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func isDigest(pullSpec string) bool {
	ref, err := reference.Parse(pullSpec)
	return err == nil && ref.ID != ""
}

// imported tells whether the newest event of a tag is that of its present source.
func imported(stream *imageapi.ImageStream, tag imageapi.TagReference) bool {
	head, found := history.Head(stream, tag.Name)
	return found && tag.Generation != nil && head.Generation == *tag.Generation
}

// LastRun is when the scheduled tags of a stream were last imported, as far as the stream tells: the newest of
// its last check and of the events and conditions of those tags. It is zero when nothing is known.
func LastRun(stream *imageapi.ImageStream, tags []string) time.Time {
	last, err := time.Parse(time.RFC3339, stream.Annotations[imagev1.DockerImageRepositoryCheckAnnotation])
	if err != nil {
		last = time.Time{}
	}
	newer := func(t time.Time) {
		if t.After(last) {
			last = t
		}
	}
	for _, tag := range tags {
		if head, found := history.Head(stream, tag); found {
			newer(head.Created.Time)
		}
		for _, condition := range stream.Status.Tags[tag].Conditions {
			newer(condition.LastTransitionTime.Time)
		}
	}
	return last
}
