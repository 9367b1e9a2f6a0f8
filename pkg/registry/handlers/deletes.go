package handlers

import (
	"context"
	"errors"
	"net/http"
	"slices"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/registry/imageapi"
	"image.alauda.io/registry/pkg/registry/membership"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

const statusAttempts = 5

// deleteTag removes a tag with its history from the image API. The manifest stays
// reachable by digest until it is pruned.
func (h *Handlers) deleteTag(req *request) error {
	name, tag := req.route.Name, req.route.Tag
	err := h.API.DeleteTag(req.Context(), name, tag)
	h.Cache.ForgetRepository(name.String())
	if err != nil && !apierrors.IsNotFound(err) {
		return imageapi.Refusal(err, name)
	}
	// Also without the tag: a process that died between both steps has left the hint, and a
	// recovery would bring the tag back.
	if err := h.Store.RemoveTagHint(req.Context(), name, tag); err != nil {
		return err
	}
	if err != nil {
		return membership.ManifestUnknown("image stream %q has no tag %q", name, tag)
	}
	return empty(req, http.StatusAccepted)
}

// deleteManifest removes a manifest by digest: for a user with every tag that has it
// now, for the pruner only if the stream does not lead to it any more.
func (h *Handlers) deleteManifest(req *request) error {
	if req.pruner {
		return h.pruneManifest(req)
	}
	ctx := req.Context()
	_, canonical, err := h.resolve(req)
	if err != nil {
		return err
	}
	parent, err := req.scope.ParentOf(ctx, canonical)
	if err != nil {
		return err
	}
	if parent != "" {
		return stillUsed("manifest %s is part of the index %s, delete that first", canonical, parent)
	}
	if err := h.forget(req, canonical); err != nil {
		return err
	}
	if err := h.unlink(req, canonical, nil); err != nil {
		return err
	}
	return empty(req, http.StatusAccepted)
}

// pruneManifest removes the links of a manifest that the stream does not reach.
func (h *Handlers) pruneManifest(req *request) error {
	ctx := req.Context()
	canonical, err := h.Store.Link(ctx, req.route.Name, store.Revisions, req.route.Digest)
	if errors.Is(err, store.ErrNotFound) {
		return membership.ManifestUnknown("manifest %s is not linked in %s", req.route.Digest, req.route.Name)
	}
	if err != nil {
		return err
	}
	reached, err := h.reaches(req, canonical)
	if err != nil {
		return err
	}
	if reached {
		return stillUsed("manifest %s is referenced by image stream %q", canonical, req.route.Name)
	}
	err = h.unlink(req, canonical, func(u *store.Unlinking) error {
		young, err := h.isYoung(ctx, u, store.Revisions, canonical)
		if err == nil && young {
			err = stillUsed("manifest %s was pushed less than 10 minutes ago", canonical)
		}
		return err
	})
	if err != nil {
		return err
	}
	return empty(req, http.StatusAccepted)
}

// maxSubjects bounds the way from a referrer to what it is about in the end.
const maxSubjects = 16

// reaches tells whether the stream leads to the digest, or to what the digest is about: its
// subject, the subject of that one and so on.
func (h *Handlers) reaches(req *request, canonical digest.Digest) (bool, error) {
	ctx := req.Context()
	for range maxSubjects {
		reached, err := req.scope.Reaches(ctx, canonical)
		if err != nil || reached {
			return reached, err
		}
		parsed, err := h.parsed(ctx, canonical)
		if err != nil || parsed == nil || parsed.Subject == nil {
			return false, err
		}
		canonical = parsed.Subject.Digest
		linked, err := h.Store.Link(ctx, req.route.Name, store.Revisions, canonical)
		if err == nil {
			canonical = linked
		} else if !errors.Is(err, store.ErrNotFound) {
			return false, err
		}
	}
	return true, nil // nobody knows, so it stays
}

// parsed reads a stored manifest; nil when it is not there or not a manifest.
func (h *Handlers) parsed(ctx context.Context, canonical digest.Digest) (*manifest.Manifest, error) {
	raw, err := h.Store.ServedManifest(ctx, canonical, nil)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrCorrupt) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	parsed, err := manifest.Parse(raw, "")
	if err != nil {
		return nil, nil //nolint:nilerr // what is no manifest names no subject
	}
	return parsed, nil
}

// forget takes the digest out of the stream: tags that have it now go as a whole,
// older items of other tags one by one.
func (h *Handlers) forget(req *request, canonical digest.Digest) error {
	ctx, name := req.Context(), req.route.Name
	defer h.Cache.ForgetRepository(name.String())
	stream, err := req.scope.Stream(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, list := range stream.Status.Tags {
		if len(list.Items) == 0 || list.Items[0].Image != canonical.String() {
			continue
		}
		if err := h.API.DeleteTag(ctx, name, list.Tag); err != nil && !apierrors.IsNotFound(err) {
			return imageapi.Refusal(err, name)
		}
		if err := h.Store.RemoveTagHint(ctx, name, list.Tag); err != nil {
			return err
		}
	}
	return h.forgetHistory(req, canonical)
}

func (h *Handlers) forgetHistory(req *request, canonical digest.Digest) error {
	for attempt := 1; ; attempt++ {
		stream, err := h.API.Stream(req.Context(), req.route.Name)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return imageapi.Unavailable(err)
		}
		if !removeItems(stream, canonical.String()) {
			return nil
		}
		err = h.API.UpdateStreamStatus(req.Context(), stream)
		if !apierrors.IsConflict(err) || attempt == statusAttempts {
			return imageapi.Refusal(err, req.route.Name)
		}
	}
}

// removeItems removes the digest from all histories and tells whether it was in one.
func removeItems(stream *imagev1.ImageStream, image string) bool {
	removed := false
	for i := range stream.Status.Tags {
		list := &stream.Status.Tags[i]
		before := len(list.Items)
		list.Items = slices.DeleteFunc(list.Items, func(item imagev1.TagEvent) bool { return item.Image == image })
		removed = removed || len(list.Items) != before
	}
	return removed
}

// unlink removes the links of a manifest under all its digests, and its entry at its
// subject, unless check, which may be nil, has something against it. Entries about it stay.
func (h *Handlers) unlink(req *request, canonical digest.Digest, check func(*store.Unlinking) error) error {
	ctx, name := req.Context(), req.route.Name
	defer h.Cache.ForgetRepository(name.String())
	parsed, err := h.parsed(ctx, canonical)
	if err != nil {
		return err
	}
	digests := distinct(req.route.Digest, canonical)
	if parsed != nil {
		digests = append(digests, digest.SHA512.FromBytes(parsed.Raw))
	}
	return h.Store.Unlink(ctx, name, func(u *store.Unlinking) error {
		if check != nil {
			if err := check(u); err != nil {
				return err
			}
		}
		for _, d := range digests {
			if parsed != nil && parsed.Subject != nil {
				if err := u.RemoveReferrer(ctx, parsed.Subject.Digest, d); err != nil {
					return err
				}
			}
			if err := u.RemoveLink(ctx, store.Revisions, d); err != nil {
				return err
			}
		}
		return nil
	})
}
