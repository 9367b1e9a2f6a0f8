package imagestore

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/testing"

	"image.alauda.io/api/image/reference"
	"image.alauda.io/api/image/tags"
	imagev1 "image.alauda.io/api/image/v1"
)

// tags answers for imagestreamtags.
func (s *store) tags(action testing.Action) (bool, runtime.Object, error) {
	// The actions satisfy each other's interfaces, so their types decide.
	switch action := action.(type) {
	case testing.GetActionImpl:
		return handled(s.getTag(action.GetNamespace(), action.GetName()))
	case testing.ListActionImpl:
		return handled(s.listTags(action))
	case testing.CreateActionImpl:
		return handled(s.putTag(action.GetNamespace(), action.GetObject(), true, action.CreateOptions.DryRun))
	case testing.UpdateActionImpl:
		return handled(s.putTag(action.GetNamespace(), action.GetObject(), false, action.UpdateOptions.DryRun))
	case testing.DeleteActionImpl:
		return true, nil, s.deleteTag(action.GetNamespace(), action.GetName(), action.DeleteOptions.DryRun)
	}
	return true, nil, apierrors.NewMethodNotSupported(action.GetResource().GroupResource(), action.GetVerb())
}

// handled ends the chain of reactors, without a typed nil behind an error.
func handled[T runtime.Object](obj T, err error) (bool, runtime.Object, error) {
	if err != nil {
		return true, nil, err
	}
	return true, obj, nil
}

func splitTag(name string) (stream, tag string, err error) {
	stream, tag, err = reference.SplitStreamTag(name)
	if err != nil {
		return "", "", apierrors.NewBadRequest(err.Error())
	}
	return stream, tag, nil
}

func (s *store) getTag(namespace, name string) (*imagev1.ImageStreamTag, error) {
	streamName, tag, err := splitTag(name)
	if err != nil {
		return nil, err
	}
	stream, err := s.stream(namespace, streamName, imagev1.ResourceNameImageStreamTags)
	if err != nil {
		return nil, err
	}
	event := tags.LatestEvent(stream, tag)
	if event == nil || event.Image == "" {
		return nil, notFound(imagev1.ResourceNameImageStreamTags, name)
	}
	image, err := s.image(event.Image)
	if err != nil {
		return nil, err
	}
	return s.show(stream, tag, image), nil
}

// show puts a tag together. Without image it is one that points at nothing
// yet, or an item of a list.
func (s *store) show(stream *imagev1.ImageStream, tag string, image *imagev1.Image) *imagev1.ImageStreamTag {
	shown := &imagev1.ImageStreamTag{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: stream.Namespace, Name: stream.Name + ":" + tag, Labels: maps.Clone(stream.Labels),
			UID: stream.UID, ResourceVersion: stream.ResourceVersion,
		},
		LookupPolicy: stream.Spec.LookupPolicy,
	}
	if image != nil {
		shown.Image = *image.DeepCopy()
		shown.Image.DockerImageManifest, shown.Image.DockerImageConfig = "", ""
	}
	wanted := tags.SpecTag(stream, tag)
	if wanted != nil {
		shown.Tag = wanted.DeepCopy()
		shown.Annotations = maps.Clone(wanted.Annotations)
		for key, value := range wanted.Annotations {
			metav1.SetMetaDataAnnotation(&shown.Image.ObjectMeta, key, value)
		}
	}
	if history := tags.History(stream, tag); history != nil {
		shown.Conditions = slices.Clone(history.Conditions)
	}
	if event := tags.LatestEvent(stream, tag); event != nil {
		shown.Generation, shown.CreationTimestamp = event.Generation, event.Created
		shown.Image.Name = event.Image
		shown.Image.DockerImageReference = event.DockerImageReference
		if wanted != nil && wanted.ReferencePolicy.Type == imagev1.LocalTagReferencePolicy && event.Image != "" {
			shown.Image.DockerImageReference = s.repository(stream.Namespace, stream.Name) + "@" + event.Image
		}
	}
	return shown
}

func (s *store) listTags(action testing.ListAction) (*imagev1.ImageStreamTagList, error) {
	obj, err := s.tracker.List(resource(imagev1.ResourceNameImageStreams), imagev1.SchemeGroupVersion.WithKind("ImageStream"), action.GetNamespace())
	if err != nil {
		return nil, err
	}
	streams, ok := obj.(*imagev1.ImageStreamList)
	if !ok {
		return nil, fmt.Errorf("image streams are tracked as %T", obj)
	}
	slices.SortFunc(streams.Items, func(a, b imagev1.ImageStream) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	list := &imagev1.ImageStreamTagList{ListMeta: streams.ListMeta, Items: []imagev1.ImageStreamTag{}}
	fields := action.GetListRestrictions().Fields
	for i := range streams.Items {
		stream := &streams.Items[i]
		for _, tag := range tags.Names(stream) {
			event := tags.LatestEvent(stream, tag)
			name, _ := fields.RequiresExactMatch("metadata.name")
			if event == nil || event.Image == "" || name != "" && name != stream.Name+":"+tag {
				continue
			}
			list.Items = append(list.Items, *s.show(stream, tag, nil))
		}
	}
	return list, nil
}

// putTag creates or replaces the tag in the spec of its stream, and creates the
// stream when there is none.
func (s *store) putTag(namespace string, obj runtime.Object, create bool, dryRun []string) (*imagev1.ImageStreamTag, error) {
	wanted, ok := obj.(*imagev1.ImageStreamTag)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("%T is not an ImageStreamTag", obj))
	}
	streamName, tag, err := splitTag(wanted.Name)
	if err != nil {
		return nil, err
	}
	stream, err := s.stream(namespace, streamName, imagev1.ResourceNameImageStreamTags)
	isNew := apierrors.IsNotFound(err)
	if err != nil && !isNew {
		return nil, err
	}
	if isNew {
		stream = &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: streamName}}
	}
	existing := tags.SpecTag(stream, tag)
	switch {
	case create && existing != nil:
		return nil, apierrors.NewAlreadyExists(resource(imagev1.ResourceNameImageStreamTags).GroupResource(), wanted.Name)
	case wanted.Tag == nil && existing == nil:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("imagestreamtag %s: tag must be set", wanted.Name))
	}
	s.setSpecTag(stream, tag, wanted)
	if err := s.write(stream, isNew, dryRun); err != nil {
		return nil, err
	}
	var image *imagev1.Image
	if event := tags.LatestEvent(stream, tag); event != nil && event.Image != "" {
		if image, err = s.image(event.Image); err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
	}
	return s.show(stream, tag, image), nil
}

func (s *store) setSpecTag(stream *imagev1.ImageStream, tag string, wanted *imagev1.ImageStreamTag) {
	stream.Generation++
	generation := stream.Generation
	next := imagev1.TagReference{}
	if wanted.Tag != nil {
		next = *wanted.Tag.DeepCopy()
	} else if existing := tags.SpecTag(stream, tag); existing != nil {
		next = *existing.DeepCopy()
	}
	next.Name, next.Generation, next.Annotations = tag, &generation, maps.Clone(wanted.Annotations)
	stream.Spec.Tags = slices.DeleteFunc(stream.Spec.Tags, func(t imagev1.TagReference) bool { return t.Name == tag })
	stream.Spec.Tags = append(stream.Spec.Tags, next)
	slices.SortFunc(stream.Spec.Tags, func(a, b imagev1.TagReference) int { return strings.Compare(a.Name, b.Name) })
	if next.Reference && next.From != nil && next.From.Kind == imagev1.KindDockerImage {
		tags.AddEvent(&stream.Status, tag, imagev1.TagEvent{
			Created: metav1.NewTime(s.options.Now()), DockerImageReference: next.From.Name, Generation: generation,
		})
	}
}

func (s *store) deleteTag(namespace, name string, dryRun []string) error {
	streamName, tag, err := splitTag(name)
	if err != nil {
		return err
	}
	stream, err := s.stream(namespace, streamName, imagev1.ResourceNameImageStreamTags)
	if err != nil {
		return err
	}
	if !tags.HasTag(stream, tag) {
		return notFound(imagev1.ResourceNameImageStreamTags, name)
	}
	if tags.SpecTag(stream, tag) != nil {
		stream.Generation++
	}
	stream.Spec.Tags = slices.DeleteFunc(stream.Spec.Tags, func(t imagev1.TagReference) bool { return t.Name == tag })
	stream.Status.Tags = slices.DeleteFunc(stream.Status.Tags, func(t imagev1.NamedTagEventList) bool { return t.Tag == tag })
	return s.write(stream, false, dryRun)
}
