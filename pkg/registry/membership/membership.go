// Package membership answers which content belongs to a repository.
//
// A Scope lives for one request. It combines the links in the storage with what the
// image API says about the ImageStream, and answers: which digest has a tag, may this
// repository serve this manifest, may it serve this blob. Links are asked first, so that
// content that was pushed here is served while the image API is away.
//
// What a stream has is believed from its view; that it lacks something is said only after
// a read of the stream itself. Stream and layers are read at most once. Layers have no
// view: what is local follows from Images, too, which change without their stream.
//
// That a digest is in the global store never suffices, and neither does a manifest
// that somebody imported: only entries that the API marks `local` open content without
// a link, and only the content that their stored manifest needs to be stored here, not
// what it merely mentions (foreign layers, absent children of an index). Content that
// could only be had from another registry is not found here.
package membership

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/imageapi"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"
	"image.alauda.io/registry/pkg/registry/streams"

	"github.com/opencontainers/go-digest"
)

// Scope is the view of one repository during one request. It is not for concurrent
// use.
type Scope struct {
	api   imageapi.Client
	views *streams.Views
	store *store.Store
	name  route.Name

	// stream is what was learned about the stream; fresh says that it was read for this
	// request, live that nothing else will do.
	stream      *answer[*streams.View]
	fresh, live bool
	layers      *answer[*imagev1.ImageStreamLayers]
	needs       map[string]map[digest.Digest]bool
	memory      memory
}

type answer[T any] struct {
	value T
	err   error
}

// New returns the Scope of a repository.
func New(api imageapi.Client, views *streams.Views, store *store.Store, name route.Name) *Scope {
	return &Scope{api: api, views: views, store: store, name: name}
}

// NewLive returns a Scope that reads the stream itself, for what will be written.
func NewLive(api imageapi.Client, views *streams.Views, store *store.Store, name route.Name) *Scope {
	return &Scope{api: api, views: views, store: store, name: name, live: true}
}

// Name is the repository.
func (s *Scope) Name() route.Name { return s.name }

// Stream reads the ImageStream itself and returns what streams.View keeps of it, for who
// writes or says that something does not exist. A missing one is 404 NAME_UNKNOWN, an
// image API that does not answer 503.
func (s *Scope) Stream(ctx context.Context) (*imagev1.ImageStream, error) {
	view, err := s.refresh(ctx)
	if err != nil {
		return nil, err
	}
	return view.Stream(), nil
}

// view is the stream as it is known.
func (s *Scope) view(ctx context.Context) (*streams.View, error) {
	if s.live {
		return s.refresh(ctx)
	}
	if s.stream == nil {
		view, fresh, err := s.views.View(ctx, s.name)
		if !fresh && streams.Missing(err) {
			// The read of somebody else, which may have begun before the stream was there.
			return s.refresh(ctx)
		}
		s.stream, s.fresh = &answer[*streams.View]{view, s.refusal(err)}, fresh
	}
	return s.stream.value, s.stream.err
}

// refresh reads the stream unless this request has read it.
func (s *Scope) refresh(ctx context.Context) (*streams.View, error) {
	if s.stream == nil || !s.fresh {
		view, err := s.views.Fresh(ctx, s.name)
		s.stream, s.fresh = &answer[*streams.View]{view, s.refusal(err)}, true
	}
	return s.stream.value, s.stream.err
}

// find looks into the stream as it is known, and into the stream itself when that does
// not show what is looked for.
func (s *Scope) find(ctx context.Context, has func(*streams.View) bool) (bool, error) {
	view, err := s.view(ctx)
	if err != nil || has(view) || s.fresh {
		return err == nil && has(view), err
	}
	if view, err = s.refresh(ctx); err != nil {
		return false, err
	}
	return has(view), nil
}

// Layers reads what the images of the stream consist of. Others share the answer: nothing
// of it may be changed.
func (s *Scope) Layers(ctx context.Context) (*imagev1.ImageStreamLayers, error) {
	if s.layers == nil {
		layers, err := s.views.Layers(ctx, s.name)
		s.layers = &answer[*imagev1.ImageStreamLayers]{layers, s.refusal(err)}
	}
	return s.layers.value, s.layers.err
}

func (s *Scope) refusal(err error) error {
	switch {
	case err == nil:
		return nil
	case streams.Missing(err):
		return apierror.New(http.StatusNotFound, apierror.CodeNameUnknown, "image stream %q not found", s.name).
			WithCause(errors.Join(err, store.ErrNotFound))
	}
	return imageapi.Unavailable(err)
}

// Tag returns the current digest of a tag: 404 MANIFEST_UNKNOWN without one.
func (s *Scope) Tag(ctx context.Context, tag string) (digest.Digest, error) {
	image := ""
	found, err := s.find(ctx, func(view *streams.View) (found bool) {
		image, found = view.Image(tag)
		return found
	})
	switch {
	case err != nil:
		return "", err
	case !found:
		return "", ManifestUnknown("image stream %q has no tag %q", s.name, tag)
	}
	d, err := manifest.ParseDigest(image)
	if err != nil && !s.fresh {
		return s.FreshTag(ctx, tag)
	}
	if err != nil {
		return "", ManifestUnknown("tag %q of %s does not name an image of this registry", tag, s.name)
	}
	return d, nil
}

// FreshTag is Tag of the stream itself. Who finds that the content of a tag is gone asks
// whether the tag has moved.
func (s *Scope) FreshTag(ctx context.Context, tag string) (digest.Digest, error) {
	if _, err := s.refresh(ctx); err != nil {
		return "", err
	}
	return s.Tag(ctx, tag)
}

// Tags returns the tags that have a history, byte-sorted. The list is shared.
func (s *Scope) Tags(ctx context.Context) ([]string, error) {
	view, err := s.view(ctx)
	if err != nil {
		return nil, err
	}
	return view.Tags(), nil
}

// ManifestUnknown is 404 MANIFEST_UNKNOWN.
func ManifestUnknown(format string, args ...any) error {
	return apierror.New(http.StatusNotFound, apierror.CodeManifestUnknown, format, args...).WithCause(store.ErrNotFound)
}

// Manifest returns the canonical digest under which this repository may serve a
// manifest from the store. It does not tell whether the bytes are there.
func (s *Scope) Manifest(ctx context.Context, d digest.Digest) (digest.Digest, error) {
	canonical, err := s.store.Link(ctx, s.name, store.Revisions, d)
	if !errors.Is(err, store.ErrNotFound) {
		return canonical, err
	}
	if d.Algorithm() != digest.SHA256 {
		return "", s.unknownManifest(d)
	}
	named, err := s.find(ctx, func(view *streams.View) bool { return view.Names(d.String()) })
	if errors.Is(err, store.ErrNotFound) {
		return "", s.unknownManifest(d)
	}
	if err != nil {
		return "", err
	}
	if named {
		return d, nil
	}
	layers, err := s.Layers(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return "", s.unknownManifest(d)
	}
	if err != nil {
		return "", err
	}
	if isLocalImage(layers, d) {
		return d, nil
	}
	return "", s.unknownManifest(d)
}

func (s *Scope) unknownManifest(d digest.Digest) error {
	return ManifestUnknown("manifest %s is not known to %s", d, s.name)
}

// Blob finds a blob that this repository may serve, by an uncached look into the
// store. Without one the error is store.ErrNotFound.
func (s *Scope) Blob(ctx context.Context, d digest.Digest) (store.Info, error) {
	canonical, err := s.store.Link(ctx, s.name, store.Layers, d)
	if err == nil {
		info, err := s.store.Stat(ctx, canonical)
		if err == nil && d == canonical {
			s.remember(canonical, info.Size)
		}
		return info, err
	}
	if !errors.Is(err, store.ErrNotFound) || d.Algorithm() != digest.SHA256 {
		return store.Info{}, err
	}
	info, err := s.store.Stat(ctx, d)
	if err != nil {
		return store.Info{}, err
	}
	opened, err := s.opens(ctx, d)
	if err != nil {
		return store.Info{}, err
	}
	if !opened {
		return store.Info{}, fmt.Errorf("blob %s of %s: %w", d, s.name, store.ErrNotFound)
	}
	s.remember(d, info.Size)
	return info, nil
}

// Reaches tells whether the stream still leads to a digest: as an item of a tag's
// history or below one as the child of an index.
func (s *Scope) Reaches(ctx context.Context, d digest.Digest) (bool, error) {
	layers, err := s.Layers(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, image := layers.Images[d.String()]
	return image, nil
}

// ParentOf returns an index of the stream that has the digest as a child, or "".
func (s *Scope) ParentOf(ctx context.Context, d digest.Digest) (string, error) {
	layers, err := s.Layers(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	for parent, image := range layers.Images {
		if slices.Contains(image.Manifests, d.String()) {
			return parent, nil
		}
	}
	return "", nil
}

// Uses tells whether a blob is part of what the stream names.
func (s *Scope) Uses(ctx context.Context, d digest.Digest) (bool, error) {
	layers, err := s.Layers(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, blob := layers.Blobs[d.String()]
	_, image := layers.Images[d.String()]
	return blob || image, nil
}
