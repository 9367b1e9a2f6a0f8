package recovery

import (
	"context"
	"errors"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
)

// stream looks for tags that name what is not there.
func (r *Recovery) stream(ctx context.Context, stream *imagev1.ImageStream, existing map[imageKey]struct{}) error {
	r.summary.Streams++
	work := &repositoryWork{Recovery: r, name: route.Name{Namespace: stream.Namespace, Stream: stream.Name}}
	looked := map[string]bool{}
	for _, tag := range stream.Status.Tags {
		for _, event := range tag.Items {
			if looked[event.Image] || event.Image == "" {
				continue
			}
			looked[event.Image] = true
			object := work.name.String() + ":" + tag.Tag
			d, err := manifest.ParseDigest(event.Image)
			if err != nil || d.Algorithm() != digest.SHA256 {
				if err := r.problem(object, "its history names %q, which is not a sha256 digest", event.Image); err != nil {
					return err
				}
				continue
			}
			if _, found := existing[keyOf(d)]; found {
				continue
			}
			if err := work.event(ctx, object, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// event deals with a tag whose Image is missing. If the repository links the manifest, the
// Image can be made again.
func (w *repositoryWork) event(ctx context.Context, object string, d digest.Digest) error {
	// It may have come after the list of images.
	if exists, err := w.imageExists(ctx, d); err != nil || exists {
		return err
	}
	missing := "its history names " + d.String() + ", but there is no such Image"
	link, err := w.Store.Link(ctx, w.name, store.Revisions, d)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if link != d {
		return w.problem(object, "%s and it is not in the storage of this repository", missing)
	}
	one := linked{digest: d}
	w.seen = map[digest.Digest]verdict{}
	if err := w.describe(ctx, &one); err != nil {
		return err
	}
	if one.defect != "" {
		return w.problem(object, "%s and it cannot be recovered: %s", missing, one.defect)
	}
	if w.recovers() {
		if err := w.take(ctx, &step{linked: one}); err != nil {
			return w.refused(object, missing, err)
		}
	}
	return w.repairable(object, missing, "create the Image out of the storage")
}
