package streams

import (
	"context"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/imageapi"
	"image.alauda.io/registry/pkg/registry/route"
)

// Client returns a Client whose writes to streams drop what is known of them. All writes
// of the process must go through it.
func (v *Views) Client(api imageapi.Client) imageapi.Client { return writing{api, v} }

type writing struct {
	imageapi.Client
	views *Views
}

// CreateStream implements imageapi.Client.
func (w writing) CreateStream(ctx context.Context, stream *imagev1.ImageStream) error {
	name := nameOf(stream.Namespace, stream.Name)
	defer w.views.changed(name) // also after an error: the server may have done it
	err := w.Client.CreateStream(ctx, stream)
	if err == nil {
		w.views.known.create(name)
	}
	return err
}

// UpdateStreamStatus implements imageapi.Client.
func (w writing) UpdateStreamStatus(ctx context.Context, stream *imagev1.ImageStream) error {
	defer w.views.changed(nameOf(stream.Namespace, stream.Name))
	return w.Client.UpdateStreamStatus(ctx, stream)
}

// CreateMapping implements imageapi.Client.
func (w writing) CreateMapping(ctx context.Context, mapping *imagev1.ImageStreamMapping) error {
	defer w.views.changed(nameOf(mapping.Namespace, mapping.Name))
	return w.Client.CreateMapping(ctx, mapping)
}

// DeleteTag implements imageapi.Client.
func (w writing) DeleteTag(ctx context.Context, name route.Name, tag string) error {
	defer w.views.changed(name)
	return w.Client.DeleteTag(ctx, name, tag)
}
