// Package imageapitest is the image API in memory, for tests of the registry.
//
// It does what the API server promises to the registry: mappings need a stream and
// add to the history of a tag, layers answers follow index children and mark what is
// local, deletions remove tags. Namespaces must be added before streams are created.
// Every call can be counted and made to fail. It enforces no permissions and no
// limits; tests inject the errors that they want to see.
package imageapitest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/registry/imageapi"
	"image.alauda.io/registry/pkg/registry/route"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

// API implements imageapi.Client.
type API struct {
	serverAddr string
	now        func() time.Time

	mu         sync.Mutex
	version    int
	namespaces map[string]bool
	streams    map[route.Name]*imagev1.ImageStream
	images     map[string]*imagev1.Image
	secrets    map[string][]corev1.Secret
	calls      map[string]int
	fail       func(call string) error
	config     *imageregistryv1.Config

	// changes is what watches send, news is closed when there is more, held stops them.
	changes  []change
	news     chan struct{}
	held     bool
	watchers []*watcher
}

var _ imageapi.Client = (*API)(nil)

// New returns an empty API for a registry with that address.
func New(serverAddr string, now func() time.Time) *API {
	return &API{
		serverAddr: serverAddr, now: now, namespaces: map[string]bool{},
		streams: map[route.Name]*imagev1.ImageStream{}, images: map[string]*imagev1.Image{}, secrets: map[string][]corev1.Secret{}, calls: map[string]int{},
		news: make(chan struct{}),
	}
}

// AddNamespace makes a namespace exist.
func (a *API) AddNamespace(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.namespaces[name] = true
}

// AddStream stores a stream as it is.
func (a *API) AddStream(stream *imagev1.ImageStream) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.put(stream.DeepCopy())
}

// AddImage stores an image as it is.
func (a *API) AddImage(image *imagev1.Image) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.images[image.Name] = image.DeepCopy()
}

// AddSecret stores a pull secret in a namespace.
func (a *API) AddSecret(namespace string, secret corev1.Secret) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.secrets[namespace] = append(a.secrets[namespace], secret)
}

// Secrets implements imageapi.Client.
func (a *API) Secrets(_ context.Context, name route.Name) ([]corev1.Secret, error) {
	end, err := a.begin("Secrets")
	if err != nil {
		return nil, err
	}
	defer end()
	return slices.Clone(a.secrets[name.Namespace]), nil
}

// DeleteImage removes an image, as a prune does.
func (a *API) DeleteImage(digest string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.images, digest)
}

// DeleteStream removes a stream.
func (a *API) DeleteStream(name route.Name) {
	a.mu.Lock()
	defer a.mu.Unlock()
	stream, found := a.streams[name]
	if !found {
		return
	}
	delete(a.streams, name)
	a.version++
	deleted := stream.DeepCopy()
	deleted.ResourceVersion = fmt.Sprint(a.version)
	a.note(watch.Deleted, deleted)
}

// Fail installs a function that may refuse calls; it gets the method's name.
func (a *API) Fail(fail func(call string) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fail = fail
}

// Calls is how often a method was called.
func (a *API) Calls(call string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls[call]
}

// begin counts the call and takes the lock unless the call must fail.
func (a *API) begin(call string) (func(), error) {
	a.mu.Lock()
	a.calls[call]++
	fail := a.fail
	a.mu.Unlock()
	if fail != nil {
		if err := fail(call); err != nil {
			return nil, err
		}
	}
	a.mu.Lock()
	return a.mu.Unlock, nil
}

func (a *API) put(stream *imagev1.ImageStream) {
	a.version++
	stream.ResourceVersion = fmt.Sprint(a.version)
	stream.Status.DockerImageRepository = a.serverAddr + "/" + stream.Namespace + "/" + stream.Name
	a.identify(stream)
	name := route.Name{Namespace: stream.Namespace, Stream: stream.Name}
	kind := watch.Added
	if _, found := a.streams[name]; found {
		kind = watch.Modified
	}
	a.streams[name] = stream
	a.note(kind, stream)
}

func notFound(resource, name string) error {
	return apierrors.NewNotFound(schema.GroupResource{Group: imagev1.GroupName, Resource: resource}, name)
}

// Stream implements imageapi.Client.
func (a *API) Stream(_ context.Context, name route.Name) (*imagev1.ImageStream, error) {
	end, err := a.begin("Stream")
	if err != nil {
		return nil, err
	}
	defer end()
	stream, ok := a.streams[name]
	if !ok {
		return nil, notFound(imagev1.ResourceNameImageStreams, name.Stream)
	}
	return stream.DeepCopy(), nil
}

// StreamNames implements imageapi.Client.
func (a *API) StreamNames(context.Context) ([]route.Name, error) {
	end, err := a.begin("StreamNames")
	if err != nil {
		return nil, err
	}
	defer end()
	var names []route.Name
	for name := range a.streams {
		names = append(names, name)
	}
	return names, nil
}

// CreateStream implements imageapi.Client.
func (a *API) CreateStream(_ context.Context, stream *imagev1.ImageStream) error {
	end, err := a.begin("CreateStream")
	if err != nil {
		return err
	}
	defer end()
	if !a.namespaces[stream.Namespace] {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, stream.Namespace)
	}
	name := route.Name{Namespace: stream.Namespace, Stream: stream.Name}
	if _, exists := a.streams[name]; exists {
		return apierrors.NewAlreadyExists(schema.GroupResource{Group: imagev1.GroupName, Resource: imagev1.ResourceNameImageStreams}, stream.Name)
	}
	created := stream.DeepCopy()
	created.Generation = 1
	created.CreationTimestamp = metav1.NewTime(a.now())
	created.Status = imagev1.ImageStreamStatus{}
	a.put(created)
	return nil
}

// UpdateStreamStatus implements imageapi.Client.
func (a *API) UpdateStreamStatus(_ context.Context, stream *imagev1.ImageStream) error {
	end, err := a.begin("UpdateStreamStatus")
	if err != nil {
		return err
	}
	defer end()
	name := route.Name{Namespace: stream.Namespace, Stream: stream.Name}
	current, ok := a.streams[name]
	if !ok {
		return notFound(imagev1.ResourceNameImageStreams, stream.Name)
	}
	if stream.ResourceVersion != current.ResourceVersion {
		return apierrors.NewConflict(schema.GroupResource{Group: imagev1.GroupName, Resource: imagev1.ResourceNameImageStreams}, stream.Name, fmt.Errorf("the object has been modified"))
	}
	updated := current.DeepCopy()
	updated.Status = *stream.Status.DeepCopy()
	updated.Status.Tags = slices.DeleteFunc(updated.Status.Tags, func(tag imagev1.NamedTagEventList) bool {
		return len(tag.Items) == 0 && len(tag.Conditions) == 0
	})
	a.put(updated)
	return nil
}

// CreateMapping implements imageapi.Client.
func (a *API) CreateMapping(_ context.Context, mapping *imagev1.ImageStreamMapping) error {
	end, err := a.begin("CreateMapping")
	if err != nil {
		return err
	}
	defer end()
	name := route.Name{Namespace: mapping.Namespace, Stream: mapping.Name}
	current, ok := a.streams[name]
	if !ok {
		return notFound(imagev1.ResourceNameImageStreamMappings, mapping.Name)
	}
	digest := mapping.Image.Name
	if _, exists := a.images[digest]; !exists {
		a.storeImage(&mapping.Image)
	}
	stream := current.DeepCopy()
	event := imagev1.TagEvent{
		Created: metav1.NewTime(a.now()), Image: digest, Generation: stream.Generation,
		DockerImageReference: fmt.Sprintf("%s/%s@%s", a.serverAddr, name, digest),
	}
	index := slices.IndexFunc(stream.Status.Tags, func(t imagev1.NamedTagEventList) bool { return t.Tag == mapping.Tag })
	if index < 0 {
		stream.Status.Tags = append(stream.Status.Tags, imagev1.NamedTagEventList{Tag: mapping.Tag})
		index = len(stream.Status.Tags) - 1
	}
	tag := &stream.Status.Tags[index]
	if len(tag.Items) == 0 || tag.Items[0].Image != digest {
		tag.Items = slices.Insert(tag.Items, 0, event)
	}
	slices.SortFunc(stream.Status.Tags, func(a, b imagev1.NamedTagEventList) int { return strings.Compare(a.Tag, b.Tag) })
	a.put(stream)
	return nil
}

func (a *API) storeImage(image *imagev1.Image) {
	stored := image.DeepCopy()
	stored.CreationTimestamp = metav1.NewTime(a.now())
	a.images[stored.Name] = stored
}

// Image implements imageapi.Client.
func (a *API) Image(_ context.Context, digest string) (*imagev1.Image, error) {
	end, err := a.begin("Image")
	if err != nil {
		return nil, err
	}
	defer end()
	image, ok := a.images[digest]
	if !ok {
		return nil, notFound(imagev1.ResourceNameImages, digest)
	}
	return image.DeepCopy(), nil
}

// CreateImage implements imageapi.Client.
func (a *API) CreateImage(_ context.Context, image *imagev1.Image) error {
	end, err := a.begin("CreateImage")
	if err != nil {
		return err
	}
	defer end()
	if _, exists := a.images[image.Name]; exists {
		return apierrors.NewAlreadyExists(schema.GroupResource{Group: imagev1.GroupName, Resource: imagev1.ResourceNameImages}, image.Name)
	}
	a.storeImage(image)
	return nil
}

// AnnotateImage implements imageapi.Client.
func (a *API) AnnotateImage(_ context.Context, digest string, annotations map[string]string) error {
	end, err := a.begin("AnnotateImage")
	if err != nil {
		return err
	}
	defer end()
	image, ok := a.images[digest]
	if !ok {
		return notFound(imagev1.ResourceNameImages, digest)
	}
	for name, value := range annotations {
		metav1.SetMetaDataAnnotation(&image.ObjectMeta, name, value)
	}
	return nil
}

// DeleteTag implements imageapi.Client.
func (a *API) DeleteTag(_ context.Context, name route.Name, tag string) error {
	end, err := a.begin("DeleteTag")
	if err != nil {
		return err
	}
	defer end()
	stream, ok := a.streams[name]
	has := func(t imagev1.NamedTagEventList) bool { return t.Tag == tag }
	if !ok || !slices.ContainsFunc(stream.Status.Tags, has) {
		return notFound(imagev1.ResourceNameImageStreamTags, name.Stream+":"+tag)
	}
	updated := stream.DeepCopy()
	updated.Status.Tags = slices.DeleteFunc(updated.Status.Tags, has)
	a.put(updated)
	return nil
}

// Layers implements imageapi.Client.
func (a *API) Layers(_ context.Context, name route.Name) (*imagev1.ImageStreamLayers, error) {
	end, err := a.begin("Layers")
	if err != nil {
		return nil, err
	}
	defer end()
	stream, ok := a.streams[name]
	if !ok {
		return nil, notFound(imagev1.ResourceNameImageStreams, name.Stream)
	}
	layers := &imagev1.ImageStreamLayers{Blobs: map[string]imagev1.ImageLayerData{}, Images: map[string]imagev1.ImageBlobReferences{}}
	own := a.serverAddr + "/" + name.String()
	for _, tag := range stream.Status.Tags {
		for _, item := range tag.Items {
			local := item.DockerImageReference == own || strings.HasPrefix(item.DockerImageReference, own+"@") || strings.HasPrefix(item.DockerImageReference, own+":")
			a.addLayers(layers, item.Image, local, item.Created.Time)
		}
	}
	return layers, nil
}

// addLayers adds an image and, below an index, its children. A child that is younger
// than the event was not there when the index came and is not local through it.
func (a *API) addLayers(layers *imagev1.ImageStreamLayers, digest string, local bool, since time.Time) {
	if known, ok := layers.Images[digest]; ok && (known.Local || !local) {
		return
	}
	image, ok := a.images[digest]
	if !ok {
		layers.Images[digest] = imagev1.ImageBlobReferences{ImageMissing: true, Local: local}
		return
	}
	entry := imagev1.ImageBlobReferences{Local: local}
	for _, layer := range image.DockerImageLayers {
		entry.Layers = append(entry.Layers, layer.Name)
		size := layer.LayerSize
		layers.Blobs[layer.Name] = imagev1.ImageLayerData{LayerSize: &size, MediaType: layer.MediaType}
	}
	if config := image.Annotations[imagev1.ImageConfigDigestAnnotation]; config != "" {
		entry.Config = &config
		layers.Blobs[config] = imagev1.ImageLayerData{}
	}
	for _, child := range image.DockerImageManifests {
		entry.Manifests = append(entry.Manifests, child.Digest)
	}
	layers.Images[digest] = entry
	layers.Blobs[digest] = imagev1.ImageLayerData{MediaType: image.DockerImageManifestMediaType}
	for _, child := range entry.Manifests {
		younger := a.images[child] != nil && a.images[child].CreationTimestamp.Sub(since) > time.Minute
		a.addLayers(layers, child, local && !younger, since)
	}
}
