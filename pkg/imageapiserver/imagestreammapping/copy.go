package imagestreammapping

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints/request"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/history"
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

// copied is the event of a copy. It refers to the target's own repository when
// the content is local to the source, else to what the source says, so that an
// import stays an import. It has no reference when the source does not contain
// the image.
func (r *REST) copied(ctx context.Context, mapping *imageapi.ImageStreamMapping, source *imageapi.ImageStream) (imageapi.TagEvent, error) {
	digest := mapping.Image.Name
	event := imageapi.TagEvent{Created: metav1.NewTime(r.Clock.Now()), Image: digest}
	contents, err := r.Layers.Layers(ctx, source)
	if err != nil {
		return event, err
	}
	entry, found := contents.Images[digest]
	if !found || entry.ImageMissing {
		return event, nil
	}
	if entry.Local {
		event.DockerImageReference, _ = r.Hosts().PullSpec(mapping.Namespace, mapping.Name, digest)
		if !wholeIsLocal(contents, digest, map[string]bool{}) {
			event.Created = r.since(source, digest)
		}
		return event, nil
	}
	var newest imageapi.TagEvent
	history.EventsOf(source, digest, func(_ string, event imageapi.TagEvent) {
		if newest.Image == "" || event.Created.After(newest.Created.Time) {
			newest = event
		}
	})
	event.DockerImageReference = newest.DockerImageReference
	return event, nil
}

// wholeIsLocal tells whether all that is below an image in the source is there
// and local. If it is not, an event of now would prove to the target what the
// source does not prove: that a child which came after the index was there.
func wholeIsLocal(contents *imageapi.ImageStreamLayers, digest string, seen map[string]bool) bool {
	if seen[digest] {
		return true
	}
	seen[digest] = true
	entry, found := contents.Images[digest]
	if !found || entry.ImageMissing || !entry.Local {
		return false
	}
	for _, child := range entry.Manifests {
		if !wholeIsLocal(contents, child, seen) {
			return false
		}
	}
	return true
}

// since is the time of the newest event by which a digest is local to the
// source. Of what is only below an index it is not known by which; then it is
// that of the oldest local event.
func (r *REST) since(source *imageapi.ImageStream, digest string) metav1.Time {
	hosts := r.Hosts()
	var own, oldest metav1.Time
	for _, list := range source.Status.Tags {
		for _, event := range list.Items {
			if event.Image == "" || !hosts.IsLocal(event.DockerImageReference, source.Namespace, source.Name) {
				continue
			}
			if event.Image == digest && event.Created.After(own.Time) {
				own = event.Created
			}
			if oldest.IsZero() || event.Created.Before(&oldest) {
				oldest = event.Created
			}
		}
	}
	if own.IsZero() {
		return oldest
	}
	return own
}

func refusal(mapping *imageapi.ImageStreamMapping) error {
	return apierrors.NewForbidden(imageapi.Resource("imagestreammappings"), mapping.Name, fmt.Errorf(
		"image %s cannot be mapped into %s/%s: set image.dockerImageReference to a stream of this registry that contains it and that you may pull",
		mapping.Image.Name, mapping.Namespace, mapping.Name))
}
