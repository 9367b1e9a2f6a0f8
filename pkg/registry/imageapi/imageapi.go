// Package imageapi is the registry's door to the group image.alauda.io.
//
// Client lists the few calls that a push, a pull and a delete need. NewKubeClient
// makes them with the generated clientset and the registry's own account; the package
// imageapitest has the same behaviour in memory, so that a full registry starts in a
// test without a cluster. Errors are those of the API (k8s.io/apimachinery); Push
// turns them into what a pushing client must see.
//
// A user's token never comes here: whoever calls has checked the user's permission.
package imageapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/client-go/clientset/versioned"
	"image.alauda.io/registry/pkg/registry/route"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// Client makes the calls to the image API. All methods may be used concurrently.
// Objects that are returned belong to the caller.
type Client interface {
	// Stream reads one ImageStream.
	Stream(ctx context.Context, name route.Name) (*imagev1.ImageStream, error)
	// StreamNames lists all ImageStreams in no particular order.
	StreamNames(ctx context.Context) ([]route.Name, error)
	// CreateStream creates an ImageStream.
	CreateStream(ctx context.Context, stream *imagev1.ImageStream) error
	// UpdateStreamStatus writes the status; the resourceVersion must be current.
	UpdateStreamStatus(ctx context.Context, stream *imagev1.ImageStream) error
	// Layers reads what the images of a stream consist of.
	Layers(ctx context.Context, name route.Name) (*imagev1.ImageStreamLayers, error)
	// CreateMapping stores an Image and adds it to the history of a tag.
	CreateMapping(ctx context.Context, mapping *imagev1.ImageStreamMapping) error
	// Image reads one Image by its digest.
	Image(ctx context.Context, digest string) (*imagev1.Image, error)
	// CreateImage stores an Image that no tag names.
	CreateImage(ctx context.Context, image *imagev1.Image) error
	// AnnotateImage sets annotations of an Image and leaves all others.
	AnnotateImage(ctx context.Context, digest string, annotations map[string]string) error
	// DeleteTag removes one tag with its history.
	DeleteTag(ctx context.Context, name route.Name, tag string) error
	// Secrets reads the pull secrets that images of a stream may be fetched with. They
	// are for other registries and never leave this process otherwise.
	Secrets(ctx context.Context, name route.Name) ([]corev1.Secret, error)
}

const (
	listPageSize = 500
	// callTimeout ends a call that nobody answers. A connection that was cut off without a
	// word would otherwise hold a push for as long as its client waits.
	callTimeout = 30 * time.Second
)

var streamResource = schema.GroupVersionResource{
	Group: imagev1.GroupName, Version: "v1", Resource: imagev1.ResourceNameImageStreams,
}

type kubeClient struct {
	images   versioned.Interface
	metadata metadata.Interface
}

// KubeConfig is config with answers of an image API that is not registered made errors, so
// that they are not taken for missing objects.
func KubeConfig(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return registeredOnly{next} })
	return config
}

// CallConfig is KubeConfig for calls that end; what is watched needs the other.
func CallConfig(config *rest.Config) *rest.Config {
	config = KubeConfig(config)
	if config.Timeout == 0 {
		config.Timeout = callTimeout
	}
	return config
}

// NewKubeClient returns the Client of a cluster.
func NewKubeClient(config *rest.Config) (Client, error) {
	config = CallConfig(config)
	images, err := versioned.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("image API client: %w", err)
	}
	names, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("metadata client: %w", err)
	}
	return kubeClient{images: images, metadata: names}, nil
}

// registeredOnly tells "the image API is not registered" from "there is no such object".
// Both are 404, but the first is the plain text of a path that nobody serves, and whoever
// pulls or pushes then must hear "try again" and not "unknown".
type registeredOnly struct{ next http.RoundTripper }

// WrappedRoundTripper lets clients find the transport whose requests they cancel.
func (r registeredOnly) WrappedRoundTripper() http.RoundTripper { return r.next }

func (r registeredOnly) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := r.next.RoundTrip(request)
	if err != nil || response.StatusCode != http.StatusNotFound || strings.Contains(response.Header.Get("Content-Type"), "json") {
		return response, err
	}
	if err := response.Body.Close(); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("nobody serves %s: is APIService v1.%s registered?", request.URL.Path, imagev1.GroupName)
}

func (k kubeClient) Stream(ctx context.Context, name route.Name) (*imagev1.ImageStream, error) {
	return k.images.ImageV1().ImageStreams(name.Namespace).Get(ctx, name.Stream, metav1.GetOptions{})
}

func (k kubeClient) StreamNames(ctx context.Context) ([]route.Name, error) {
	var names []route.Name
	options := metav1.ListOptions{Limit: listPageSize}
	for {
		page, err := k.metadata.Resource(streamResource).List(ctx, options)
		if err != nil {
			return nil, err
		}
		for _, item := range page.Items {
			names = append(names, route.Name{Namespace: item.Namespace, Stream: item.Name})
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return names, nil
		}
	}
}

func (k kubeClient) CreateStream(ctx context.Context, stream *imagev1.ImageStream) error {
	_, err := k.images.ImageV1().ImageStreams(stream.Namespace).Create(ctx, stream, metav1.CreateOptions{})
	return err
}

func (k kubeClient) UpdateStreamStatus(ctx context.Context, stream *imagev1.ImageStream) error {
	_, err := k.images.ImageV1().ImageStreams(stream.Namespace).UpdateStatus(ctx, stream, metav1.UpdateOptions{})
	return err
}

func (k kubeClient) Layers(ctx context.Context, name route.Name) (*imagev1.ImageStreamLayers, error) {
	return k.images.ImageV1().ImageStreams(name.Namespace).Layers(ctx, name.Stream, metav1.GetOptions{})
}

func (k kubeClient) CreateMapping(ctx context.Context, mapping *imagev1.ImageStreamMapping) error {
	_, err := k.images.ImageV1().ImageStreamMappings(mapping.Namespace).Create(ctx, mapping, metav1.CreateOptions{})
	return err
}

func (k kubeClient) Image(ctx context.Context, digest string) (*imagev1.Image, error) {
	return k.images.ImageV1().Images().Get(ctx, digest, metav1.GetOptions{})
}

func (k kubeClient) CreateImage(ctx context.Context, image *imagev1.Image) error {
	_, err := k.images.ImageV1().Images().Create(ctx, image, metav1.CreateOptions{})
	return err
}

func (k kubeClient) AnnotateImage(ctx context.Context, digest string, annotations map[string]string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	if err != nil {
		return fmt.Errorf("annotations of image %s: %w", digest, err)
	}
	_, err = k.images.ImageV1().Images().Patch(ctx, digest, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

func (k kubeClient) DeleteTag(ctx context.Context, name route.Name, tag string) error {
	return k.images.ImageV1().ImageStreamTags(name.Namespace).Delete(ctx, name.Stream+":"+tag, metav1.DeleteOptions{})
}

func (k kubeClient) Secrets(ctx context.Context, name route.Name) ([]corev1.Secret, error) {
	list, err := k.images.ImageV1().ImageStreams(name.Namespace).Secrets(ctx, name.Stream, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}
