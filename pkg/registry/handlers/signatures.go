package handlers

import (
	"errors"
	"io"
	"net/http"

	"image.alauda.io/registry/pkg/registry/membership"
	"image.alauda.io/registry/pkg/registry/signatures"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// ServesSignatures tells whether there is an image API that keeps signatures.
func (h *Handlers) ServesSignatures() bool { return h.Signatures != nil }

// signatures reads the signatures of an image of the stream, or adds one.
func (h *Handlers) signatures(req *request) error {
	name, image := req.route.Name, req.route.Digest
	if req.Method == http.MethodPut {
		if image.Algorithm() != digest.SHA256 { // Images have no other names
			return membership.ManifestUnknown("image stream %q has no image %s", name, image)
		}
		return h.putSignature(req)
	}
	if image.Algorithm() != digest.SHA256 {
		return h.unsigned(req)
	}
	found, err := h.Signatures.StreamImage(req.Context(), name, image.String())
	if apierrors.IsNotFound(err) {
		return h.unsigned(req)
	}
	if err != nil {
		return signatures.Refusal(err, name, image.String())
	}
	return writeJSON(req, http.StatusOK, "application/json", signatures.NewList(found.Image.Signatures))
}

// unsigned answers for what has no ImageStreamImage: an empty list for what the repository
// may serve all the same, such as a child of an index or an image that no tag names. podman,
// buildah and skopeo ask for the signatures of each manifest that they pull and give up on
// anything but a list.
func (h *Handlers) unsigned(req *request) error {
	_, err := req.scope.Manifest(req.Context(), req.route.Digest)
	if errors.Is(err, store.ErrNotFound) {
		var reached bool
		if reached, err = req.scope.Reaches(req.Context(), req.route.Digest); err == nil && !reached {
			return membership.ManifestUnknown("image stream %q has no image %s", req.route.Name, req.route.Digest)
		}
	}
	if err != nil {
		return err
	}
	return writeJSON(req, http.StatusOK, "application/json", signatures.NewList(nil))
}

// putSignature adds a signature. That the stream has the image is asked first: who may
// write signatures here must not write them for what only others have.
func (h *Handlers) putSignature(req *request) error {
	name, image := req.route.Name, req.route.Digest
	raw, err := io.ReadAll(io.LimitReader(req.Body, signatures.MaxDocument+1))
	if err != nil {
		return bodyError(req, err)
	}
	signature, err := signatures.Read(raw, image)
	if err != nil {
		return err
	}
	if _, err := h.Signatures.StreamImage(req.Context(), name, image.String()); err != nil {
		return signatures.Refusal(err, name, image.String())
	}
	if err := h.Signatures.CreateSignature(req.Context(), signature); err != nil {
		return signatures.Refusal(err, name, image.String())
	}
	return empty(req, http.StatusCreated)
}
