package handlers

import (
	"io"
	"net/http"

	"image.alauda.io/registry/pkg/registry/membership"
	"image.alauda.io/registry/pkg/registry/signatures"

	"github.com/opencontainers/go-digest"
)

// signatures reads the signatures of an image of the stream, or adds one.
func (h *Handlers) signatures(req *request) error {
	name, image := req.route.Name, req.route.Digest
	if image.Algorithm() != digest.SHA256 { // Images have no other names
		return membership.ManifestUnknown("image stream %q has no image %s", name, image)
	}
	if req.Method == http.MethodPut {
		return h.putSignature(req)
	}
	found, err := h.Signatures.StreamImage(req.Context(), name, image.String())
	if err != nil {
		return signatures.Refusal(err, name, image.String())
	}
	return writeJSON(req, http.StatusOK, "application/json", signatures.NewList(found.Image.Signatures))
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
