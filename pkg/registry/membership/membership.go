// Package membership answers which content belongs to a repository.
//
// A Scope lives for one request. It combines the links in the storage with what the
// image API says about the ImageStream, reads the stream and its layers at most once,
// and answers: which digest has a tag, may this repository serve this manifest, may it
// serve this blob. Links are asked first, so that content that was pushed here is
// served while the image API is away.
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

	"github.com/opencontainers/go-digest"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Scope is the view of one repository during one request. It is not for concurrent
// use before Stream and Layers were called.
type Scope struct {
	api   imageapi.Client
	store *store.Store
	name  route.Name

	stream *answer[*imagev1.ImageStream]
	layers *answer[*imagev1.ImageStreamLayers]
	needs  map[string]map[digest.Digest]bool
}

type answer[T any] struct {
	value T
	err   error
}

// New returns the Scope of a repository.
func New(api imageapi.Client, store *store.Store, name route.Name) *Scope {
	return &Scope{api: api, store: store, name: name}
}

// Name is the repository.
func (s *Scope) Name() route.Name { return s.name }

// Stream reads the ImageStream. A missing one is 404 NAME_UNKNOWN, an image API that
// does not answer 503.
func (s *Scope) Stream(ctx context.Context) (*imagev1.ImageStream, error) {
	if s.stream == nil {
		stream, err := s.api.Stream(ctx, s.name)
		s.stream = &answer[*imagev1.ImageStream]{stream, s.refusal(err)}
	}
	return s.stream.value, s.stream.err
}

// Layers reads what the images of the stream consist of.
func (s *Scope) Layers(ctx context.Context) (*imagev1.ImageStreamLayers, error) {
	if s.layers == nil {
		layers, err := s.api.Layers(ctx, s.name)
		s.layers = &answer[*imagev1.ImageStreamLayers]{layers, s.refusal(err)}
	}
	return s.layers.value, s.layers.err
}

func (s *Scope) refusal(err error) error {
	switch {
	case err == nil:
		return nil
	case isMissing(err):
		return apierror.New(http.StatusNotFound, apierror.CodeNameUnknown, "image stream %q not found", s.name).
			WithCause(errors.Join(err, store.ErrNotFound))
	}
	return imageapi.Unavailable(err)
}

// isMissing tells a stream that does not exist from an API that is not served.
func isMissing(err error) bool {
	if !apierrors.IsNotFound(err) {
		return false
	}
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Name != ""
}

// Tag returns the current digest of a tag: 404 MANIFEST_UNKNOWN without one.
func (s *Scope) Tag(ctx context.Context, tag string) (digest.Digest, error) {
	stream, err := s.Stream(ctx)
	if err != nil {
		return "", err
	}
	for _, list := range stream.Status.Tags {
		if list.Tag != tag || len(list.Items) == 0 {
			continue
		}
		d, err := manifest.ParseDigest(list.Items[0].Image)
		if err != nil {
			return "", ManifestUnknown("tag %q of %s does not name an image of this registry", tag, s.name)
		}
		return d, nil
	}
	return "", ManifestUnknown("image stream %q has no tag %q", s.name, tag)
}

// Tags returns the tags that have a history, in the order of the API.
func (s *Scope) Tags(ctx context.Context) ([]string, error) {
	stream, err := s.Stream(ctx)
	if err != nil {
		return nil, err
	}
	tags := make([]string, 0, len(stream.Status.Tags))
	for _, list := range stream.Status.Tags {
		if len(list.Items) > 0 {
			tags = append(tags, list.Tag)
		}
	}
	slices.Sort(tags)
	return tags, nil
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
	stream, err := s.Stream(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return "", s.unknownManifest(d)
	}
	if err != nil {
		return "", err
	}
	if names(stream, d) {
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
		return s.store.Stat(ctx, canonical)
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

// names tells whether any item of any tag is the digest.
func names(stream *imagev1.ImageStream, d digest.Digest) bool {
	for _, list := range stream.Status.Tags {
		for _, item := range list.Items {
			if item.Image == d.String() {
				return true
			}
		}
	}
	return false
}
