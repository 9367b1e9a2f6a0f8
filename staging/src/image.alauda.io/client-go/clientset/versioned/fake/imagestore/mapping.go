package imagestore

import (
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/testing"

	"image.alauda.io/api/image/reference"
	"image.alauda.io/api/image/tags"
	imagev1 "image.alauda.io/api/image/v1"
)

// mapping records an image as a trusted writer does: the Image is created when
// it is new, and the tag gets an event.
func (s *store) mapping(action testing.Action) (bool, runtime.Object, error) {
	create, ok := action.(testing.CreateActionImpl)
	if !ok {
		return false, nil, nil
	}
	mapping, ok := create.GetObject().(*imagev1.ImageStreamMapping)
	if !ok {
		return true, nil, apierrors.NewBadRequest(fmt.Sprintf("%T is not an ImageStreamMapping", create.GetObject()))
	}
	return handled(s.record(create.GetNamespace(), mapping.DeepCopy(), create.CreateOptions.DryRun))
}

func (s *store) record(namespace string, mapping *imagev1.ImageStreamMapping, dryRun []string) (*metav1.Status, error) {
	stream, err := s.stream(namespace, mapping.Name, imagev1.ResourceNameImageStreamMappings)
	if err != nil {
		return nil, err
	}
	image := &mapping.Image
	own := s.repository(namespace, mapping.Name) + "@" + image.Name
	if image.DockerImageReference == "" {
		image.DockerImageReference = own
	}
	written := image.DockerImageReference
	stored, err := s.image(image.Name)
	switch {
	case apierrors.IsNotFound(err):
		err = s.createImage(image, dryRun)
	case err == nil && image.Annotations[imagev1.ManagedByAlaudaAnnotation] == "true":
		written = own
		err = s.markManaged(stored, image, dryRun)
	}
	if err != nil {
		return nil, err
	}
	event := imagev1.TagEvent{
		Created: metav1.NewTime(s.options.Now()), DockerImageReference: written, Image: image.Name, Generation: stream.Generation,
	}
	if tags.AddEvent(&stream.Status, mapping.Tag, event) {
		follow(stream, mapping.Tag, map[string]bool{mapping.Tag: true})
		if err := s.write(stream, false, dryRun); err != nil {
			return nil, err
		}
	}
	return &metav1.Status{Status: metav1.StatusSuccess}, nil
}

func (s *store) createImage(image *imagev1.Image, dryRun []string) error {
	if len(dryRun) > 0 {
		return nil
	}
	created := image.DeepCopy()
	created.Namespace, created.CreationTimestamp = "", metav1.NewTime(s.options.Now())
	return s.tracker.Create(resource(imagev1.ResourceNameImages), created, "")
}

// markManaged notes that the bytes of an Image which was there before came now.
func (s *store) markManaged(stored, pushed *imagev1.Image, dryRun []string) error {
	if stored.Annotations[imagev1.ManagedByAlaudaAnnotation] == "true" || len(dryRun) > 0 {
		return nil
	}
	for _, key := range []string{imagev1.ManagedByAlaudaAnnotation, imagev1.ImageManifestBlobStoredAnnotation} {
		if value, found := pushed.Annotations[key]; found {
			metav1.SetMetaDataAnnotation(&stored.ObjectMeta, key, value)
		}
	}
	return s.tracker.Update(resource(imagev1.ResourceNameImages), stored, "")
}

// follow hands the head of a tag on to the tags of the same stream that track
// it, along chains; seen ends cycles.
func follow(stream *imagev1.ImageStream, moved string, seen map[string]bool) {
	head := tags.LatestEvent(stream, moved)
	if head == nil {
		return
	}
	event := *head
	for i := range stream.Spec.Tags {
		tag := &stream.Spec.Tags[i]
		if seen[tag.Name] || tag.From == nil || tag.From.Kind != imagev1.KindImageStreamTag ||
			tag.From.Namespace != "" && tag.From.Namespace != stream.Namespace {
			continue
		}
		source, sourceTag, err := reference.SplitTagSource(tag.From.Name)
		if err != nil || source != "" && source != stream.Name || sourceTag != moved {
			continue
		}
		seen[tag.Name] = true
		tags.AddEvent(&stream.Status, tag.Name, event)
		follow(stream, tag.Name, seen)
	}
}
