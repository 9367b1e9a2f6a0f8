// Package imagestore lets the fake clientset answer for the resources of the
// image API that are views of others: imagestreamtags, imagestreammappings,
// imagestreamimages and imagestreams/layers. Without it the fake clientset
// would keep them as objects of their own, and a test would not see in a stream
// what it pushed.
//
// In: a clientset of package fake, and the name of the registry. Out: the same
// clientset; what is written through the views shows in the ImageStreams and
// Images that it tracks, and the other way round.
//
// It follows the rules of the image API for what exists, for histories of tags
// and for pull specs. It checks no permissions, limits or fields, and knows no
// resource versions: a test injects the refusals that it wants to see with
// reactors of its own in front of these.
package imagestore

import (
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/testing"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/client-go/clientset/versioned/fake"
)

// DefaultHost is the internal host name of the registry if Options name none.
const DefaultHost = "image-registry.image-registry-system.svc:5000"

// Options say where the views live. The zero value is good for most tests.
type Options struct {
	// Host is the internal host name of the registry, with port; DefaultHost
	// when empty.
	Host string
	// Now is the time of new events; time.Now when nil.
	Now func() time.Time
}

// NewClientset returns a fake clientset that tracks the objects and has the
// views.
func NewClientset(options Options, objects ...runtime.Object) *fake.Clientset {
	client := fake.NewClientset(objects...)
	Install(client, options)
	return client
}

// Install adds the views to a fake clientset.
func Install(client *fake.Clientset, options Options) {
	if options.Host == "" {
		options.Host = DefaultHost
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	s := &store{tracker: client.Tracker(), options: options}
	client.PrependReactor("*", imagev1.ResourceNameImageStreamTags, s.tags)
	client.PrependReactor("create", imagev1.ResourceNameImageStreamMappings, s.mapping)
	client.PrependReactor("get", imagev1.ResourceNameImageStreamImages, s.streamImage)
	client.PrependReactor("get", imagev1.ResourceNameImageStreams+"/layers", s.layers)
}

// store works on the tracker of a clientset. The clientset runs one reactor at
// a time, so that each sees what the one before it stored.
type store struct {
	tracker testing.ObjectTracker
	options Options
}

func resource(name string) schema.GroupVersionResource {
	return imagev1.SchemeGroupVersion.WithResource(name)
}

func notFound(resourceName, name string) error {
	return apierrors.NewNotFound(resource(resourceName).GroupResource(), name)
}

// stream reads a stream. The error of a missing one names the resource that
// was asked for, as the server's does.
func (s *store) stream(namespace, name, asked string) (*imagev1.ImageStream, error) {
	obj, err := s.tracker.Get(resource(imagev1.ResourceNameImageStreams), namespace, name)
	if apierrors.IsNotFound(err) {
		return nil, notFound(asked, name)
	}
	if err != nil {
		return nil, err
	}
	stream, ok := obj.(*imagev1.ImageStream)
	if !ok {
		return nil, fmt.Errorf("image stream %s/%s is tracked as %T", namespace, name, obj)
	}
	return stream.DeepCopy(), nil
}

func (s *store) image(name string) (*imagev1.Image, error) {
	obj, err := s.tracker.Get(resource(imagev1.ResourceNameImages), "", name)
	if err != nil {
		return nil, err
	}
	image, ok := obj.(*imagev1.Image)
	if !ok {
		return nil, fmt.Errorf("image %s is tracked as %T", name, obj)
	}
	return image.DeepCopy(), nil
}

// write stores a stream; a dry run stores nothing.
func (s *store) write(stream *imagev1.ImageStream, isNew bool, dryRun []string) error {
	if len(dryRun) > 0 {
		return nil
	}
	if isNew {
		stream.CreationTimestamp = metav1.NewTime(s.options.Now())
		return s.tracker.Create(resource(imagev1.ResourceNameImageStreams), stream, stream.Namespace)
	}
	return s.tracker.Update(resource(imagev1.ResourceNameImageStreams), stream, stream.Namespace)
}

func (s *store) repository(namespace, name string) string {
	return s.options.Host + "/" + namespace + "/" + name
}
