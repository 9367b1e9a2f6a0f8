package imagestream

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/clienterrors"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/layers"
)

// retrySeconds is when a client should ask again for layers that are not yet
// known.
const retrySeconds = 2

// StatusREST serves imagestreams/status.
type StatusREST struct {
	streams *REST
}

var (
	_ rest.Patcher             = &StatusREST{}
	_ rest.ResetFieldsStrategy = &StatusREST{}
)

// NewStatusREST serves the status of streams.
func NewStatusREST(streams *REST) *StatusREST { return &StatusREST{streams: streams} }

// New implements rest.Storage.
func (*StatusREST) New() runtime.Object { return &imageapi.ImageStream{} }

// Destroy leaves the shared store to REST.
func (*StatusREST) Destroy() {}

// GetSingularName implements rest.SingularNameProvider.
func (*StatusREST) GetSingularName() string { return "imagestream" }

// Get returns the stream.
func (r *StatusREST) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	return r.streams.Get(ctx, name, options)
}

// Update stores a changed status. It never creates a stream.
func (r *StatusREST) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc, update rest.ValidateObjectUpdateFunc, _ bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	passage := r.streams.gate.begin(r.streams.Stamps(options.DryRun), options.DryRun)
	guarded := func(ctx context.Context, obj, old runtime.Object) error {
		if update != nil {
			if err := update(ctx, obj, old); err != nil {
				return err
			}
		}
		return r.refuseForgedLocals(ctx, obj.(*imageapi.ImageStream), old.(*imageapi.ImageStream))
	}
	var obj runtime.Object
	var created bool
	err := passage.run(ctx, func() (err error) {
		obj, created, err = r.streams.status.Update(ctx, name, clienterrors.Of(info), create, passage.onUpdate(guarded), false, options)
		return err
	})
	if err != nil {
		return nil, false, r.streams.gate.explain(ctx, name, err)
	}
	return obj, created, nil
}

// refuseForgedLocals keeps a status writer from declaring content local that
// did not come in through the repository: only trusted writers may add an
// event that names an image under the stream's own repository, or make such an
// event younger, for an index proves only those children that were there when
// it came.
func (r *StatusREST) refuseForgedLocals(ctx context.Context, stream, old *imageapi.ImageStream) error {
	hosts := r.streams.resolver.hosts()
	known := map[[2]string]time.Time{}
	for _, list := range old.Status.Tags {
		for _, event := range list.Items {
			key := [2]string{event.DockerImageReference, event.Image}
			if since, found := known[key]; !found || event.Created.After(since) {
				known[key] = event.Created.Time
			}
		}
	}
	for tag, list := range stream.Status.Tags {
		for _, event := range list.Items {
			since, found := known[[2]string{event.DockerImageReference, event.Image}]
			if event.Image == "" || found && !event.Created.After(since) ||
				!hosts.IsLocal(event.DockerImageReference, stream.Namespace, stream.Name) {
				continue
			}
			trusted, err := r.streams.resolver.access.IsTrustedWriter(ctx)
			if err != nil || !trusted {
				return apierrors.NewForbidden(RequestedResource(ctx, imageapi.Resource("imagestreams")), stream.Name,
					fmt.Errorf("tag %s: only who may create images may record %s under this repository", tag, event.Image))
			}
			return nil
		}
	}
	return nil
}

// GetResetFields implements rest.ResetFieldsStrategy.
func (r *StatusREST) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return r.streams.status.GetResetFields()
}

// ConvertToTable implements rest.TableConvertor.
func (r *StatusREST) ConvertToTable(ctx context.Context, obj, options runtime.Object) (*metav1.Table, error) {
	return r.streams.ConvertToTable(ctx, obj, options)
}

// LayersREST serves imagestreams/layers.
type LayersREST struct {
	streams *REST
	index   layers.Index
	table   rest.TableConvertor
}

var (
	_ rest.Getter         = &LayersREST{}
	_ rest.TableConvertor = &LayersREST{}
)

// NewLayersREST serves the layers of streams as index knows them.
func NewLayersREST(streams *REST, index layers.Index) *LayersREST {
	return &LayersREST{streams: streams, index: index, table: rest.NewDefaultTableConvertor(imageapi.Resource("imagestreamlayers"))}
}

// New implements rest.Storage.
func (*LayersREST) New() runtime.Object { return &imageapi.ImageStreamLayers{} }

// Destroy leaves the shared store to REST.
func (*LayersREST) Destroy() {}

// GetSingularName implements rest.SingularNameProvider.
func (*LayersREST) GetSingularName() string { return "imagestreamlayers" }

// Get computes the layers of one stream.
func (r *LayersREST) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	stream, err := r.streams.Find(ctx, name)
	if err != nil {
		return nil, err
	}
	return r.Layers(ctx, stream)
}

// Layers computes the layers of a stream that the caller has read.
func (r *LayersREST) Layers(ctx context.Context, stream *imageapi.ImageStream) (*imageapi.ImageStreamLayers, error) {
	result, err := layers.Compute(ctx, r.index, stream, r.streams.resolver.hosts())
	if errors.Is(err, layers.ErrNotSynced) {
		return nil, apierrors.NewServerTimeout(RequestedResource(ctx, imageapi.Resource("imagestreams")), "get", retrySeconds)
	}
	if errors.Is(err, layers.ErrTooLarge) {
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("layers of image stream %s/%s: %v", stream.Namespace, stream.Name, err))
	}
	if err != nil {
		return nil, fmt.Errorf("layers of image stream %s/%s: %w", stream.Namespace, stream.Name, err)
	}
	return result, nil
}

// Proof returns the time of an event by which an image that comes now proves
// what is below it.
func (r *LayersREST) Proof(ctx context.Context, now time.Time, digest string, children []string) (time.Time, error) {
	return layers.Proof(ctx, r.index, now, digest, children)
}

// ConvertToTable implements rest.TableConvertor.
func (r *LayersREST) ConvertToTable(ctx context.Context, obj, options runtime.Object) (*metav1.Table, error) {
	return r.table.ConvertToTable(ctx, obj, options)
}
