package imagestreammapping

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints/request"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/copying"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/lastref"
)

// copy is the way of everybody who may not create images: the image must be in
// a stream of this registry from which he may pull. All refusals are the same,
// so that nobody learns what exists elsewhere.
func (r *REST) copy(ctx context.Context, mapping *imageapi.ImageStreamMapping, target *imageapi.ImageStream, dryRun []string) error {
	source, err := r.source(ctx, mapping, target)
	if err != nil {
		return err
	}
	if source == nil {
		return refusal(mapping)
	}
	event, err := r.copied(ctx, mapping, source)
	if err != nil {
		return err
	}
	if event.DockerImageReference == "" {
		return refusal(mapping)
	}
	stamps := r.Streams.Stamps(dryRun)
	err = r.move(ctx, mapping, event, stamps, dryRun)
	var gone *lastref.GoneError
	if errors.As(err, &gone) {
		return apierrors.NewConflict(imageapi.Resource("imagestreammappings"), mapping.Name, gone)
	}
	return err
}

// source is the stream that the image is copied from: the one that its
// reference names, else the target itself. It is nil when there is none or the
// user may not pull from it.
func (r *REST) source(ctx context.Context, mapping *imageapi.ImageStreamMapping, target *imageapi.ImageStream) (*imageapi.ImageStream, error) {
	namespace, name, ok := r.Hosts().Own(mapping.Image.DockerImageReference)
	if !ok {
		namespace, name = target.Namespace, target.Name
	}
	allowed, err := r.Access.CanPull(ctx, namespace, name)
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("mapping into %s/%s: %w", mapping.Namespace, mapping.Name, err))
	}
	if !allowed {
		return nil, nil
	}
	if namespace == target.Namespace && name == target.Name {
		return target, nil
	}
	stream, err := r.Streams.Find(request.WithNamespace(ctx, namespace), name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return stream, err
}

// copied is the event of a copy. It has no reference when the source does not
// contain the image.
func (r *REST) copied(ctx context.Context, mapping *imageapi.ImageStreamMapping, source *imageapi.ImageStream) (imageapi.TagEvent, error) {
	contents, err := r.Layers.Layers(ctx, source)
	if err != nil {
		return imageapi.TagEvent{}, err
	}
	event, _, _ := copying.Copy{
		Source: source, Contents: contents, Digest: mapping.Image.Name,
		Namespace: mapping.Namespace, Name: mapping.Name,
		Hosts: r.Hosts(), Now: metav1.NewTime(r.Clock.Now()),
	}.Event()
	return event, nil
}

func refusal(mapping *imageapi.ImageStreamMapping) error {
	return apierrors.NewForbidden(imageapi.Resource("imagestreammappings"), mapping.Name, fmt.Errorf(
		"image %s cannot be mapped into %s/%s: set image.dockerImageReference to a stream of this registry that contains it and that you may pull",
		mapping.Image.Name, mapping.Namespace, mapping.Name))
}
