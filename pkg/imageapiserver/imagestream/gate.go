package imagestream

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/request"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/lastref"
	"image.alauda.io/registry/pkg/imageapiserver/quota"
)

const (
	// MaxJSONSize and MaxStoredSize limit one stream: as JSON, and compressed
	// as it is stored. Larger objects meet the limits of the cluster's store
	// at a place where nobody can tell the user what to do.
	MaxJSONSize   = 6 << 20
	MaxStoredSize = 1 << 20
)

// Sizer returns the size of a stream as JSON and as it will be stored.
type Sizer func(stream *imageapi.ImageStream) (jsonSize, storedSize int, err error)

// gate is what every write of a stream passes after its strategy, within each
// attempt to store it.
type gate struct {
	size     Sizer
	quota    *quota.Gate
	resource schema.GroupResource
}

// checkSize returns the size of a stream as JSON and refuses one that grew too
// large. A write that makes it smaller always passes, otherwise nobody could
// clean up.
func (g *gate) checkSize(stream, old *imageapi.ImageStream) (int, error) {
	jsonSize, storedSize, err := g.size(stream)
	if err != nil {
		return 0, fmt.Errorf("image stream %s/%s: %w", stream.Namespace, stream.Name, err)
	}
	if jsonSize <= MaxJSONSize && storedSize <= MaxStoredSize {
		return jsonSize, nil
	}
	oldJSON, oldStored, err := g.size(old)
	if err != nil {
		return 0, fmt.Errorf("image stream %s/%s: %w", old.Namespace, old.Name, err)
	}
	if old.Name != "" && jsonSize < oldJSON && storedSize <= oldStored {
		return jsonSize, nil
	}
	events := 0
	for _, list := range stream.Status.Tags {
		events += len(list.Items)
	}
	return 0, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf(
		"image stream %s/%s would have %d tags with %d events and be too large to store (%d bytes, %d as stored; at most %d and %d): prune its history or spread the tags over several streams",
		stream.Namespace, stream.Name, len(stream.Status.Tags), events, jsonSize, storedSize, MaxJSONSize, MaxStoredSize))
}

// explain turns the absence of an Image that was to be copied into the answer
// for the client.
func (g *gate) explain(ctx context.Context, name string, err error) error {
	var gone *lastref.GoneError
	if errors.As(err, &gone) {
		return apierrors.NewConflict(RequestedResource(ctx, g.resource), name, gone)
	}
	if found, ok := ctx.Value(ambiguityKey{}).(*ambiguity); ok && found.err != nil && apierrors.IsInvalid(err) {
		return apierrors.NewConflict(RequestedResource(ctx, g.resource), name, found.err)
	}
	return err
}

// ambiguity carries out of a strategy, which can only return field errors,
// that a source id stands for several images. That is a conflict, not a
// mistake in the object.
type ambiguity struct {
	err error
}

type ambiguityKey struct{}

func withAmbiguity(ctx context.Context) context.Context {
	return context.WithValue(ctx, ambiguityKey{}, &ambiguity{})
}

func noteAmbiguity(ctx context.Context, err error) {
	if found, ok := ctx.Value(ambiguityKey{}).(*ambiguity); ok {
		found.err = err
	}
}

// RequestedResource is the resource that the client named, which errors of the
// group carry, or fallback outside a request.
func RequestedResource(ctx context.Context, fallback schema.GroupResource) schema.GroupResource {
	if info, found := request.RequestInfoFrom(ctx); found && info.Resource != "" {
		return schema.GroupResource{Group: info.APIGroup, Resource: info.Resource}
	}
	return fallback
}
