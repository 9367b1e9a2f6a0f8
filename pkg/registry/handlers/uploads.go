package handlers

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/membership"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"
	"image.alauda.io/registry/pkg/registry/uploadstate"

	"github.com/opencontainers/go-digest"
)

// bodyError turns the error of reading a request's body into its answer. A client that
// left gets none.
func bodyError(req *request, err error) error {
	if req.Context().Err() != nil {
		return fmt.Errorf("%w: %w", ErrClientGone, err)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return apierror.New(http.StatusBadRequest, apierror.CodeSizeInvalid, "the body ended before its Content-Length").WithCause(err)
	}
	return fmt.Errorf("%w: %w", ErrClientGone, err)
}

// startUpload opens a session, or finishes a mount or an upload in one request.
func (h *Handlers) startUpload(req *request) error {
	query := req.URL.Query()
	want, err := digestParameter(query)
	if err != nil {
		return err
	}
	if query.Has("mount") {
		mounted, err := h.mount(req, query.Get("mount"), query.Get("from"))
		if mounted || err != nil {
			return err
		}
		want = ""
	}
	if want == "" || isProbe(req, want) {
		upload, err := h.Store.NewUpload(req.Context(), req.route.Name)
		if err != nil {
			return err
		}
		if err := upload.Close(); err != nil {
			return err
		}
		return h.progress(req, upload.ID, upload.Size(), http.StatusAccepted)
	}
	return h.uploadInOne(req, want)
}

// uploadInOne takes a blob in one request.
func (h *Handlers) uploadInOne(req *request, want digest.Digest) error {
	size, err := h.imageSize(req)
	if err != nil {
		return err
	}
	body, err := bound(req, size, 0)
	if err != nil {
		return err
	}
	upload, err := h.Store.NewUpload(req.Context(), req.route.Name)
	if err != nil {
		return err
	}
	if _, err := upload.Append(body); err != nil {
		return errors.Join(appendError(req, err), upload.Cancel(req.Context()))
	}
	return h.commit(req, upload, want)
}

// isProbe recognises a POST that names a digest and brings no content: some clients
// ask in this way whether one request is enough.
func isProbe(req *request, want digest.Digest) bool {
	return req.ContentLength == 0 && want != digest.FromBytes(nil) && want != digest.SHA512.FromBytes(nil)
}

// digestParameter reads the optional parameter digest; repeated ones must be equal.
func digestParameter(query url.Values) (digest.Digest, error) {
	values := query["digest"]
	if len(values) == 0 {
		return "", nil
	}
	for _, other := range values[1:] {
		if other != values[0] {
			return "", apierror.New(http.StatusBadRequest, apierror.CodeDigestInvalid, "the parameter digest occurs with different values")
		}
	}
	return route.ParseDigest(values[0])
}

// maxMountSources bounds the repositories that are tried for a mount that names none: each
// can cost a review.
const maxMountSources = 5

// mount links a blob of another repository: the one that is named, or one of those that are
// known to have it. Whatever stands in the way, the answer is an ordinary session, so that
// nobody learns what exists elsewhere.
func (h *Handlers) mount(req *request, text, from string) (bool, error) {
	d, err := route.ParseDigest(text)
	if err != nil {
		return false, nil
	}
	sources := []string{from}
	if from == "" {
		sources = h.Cache.Repositories(d, maxMountSources)
	}
	for _, name := range sources {
		source, err := route.ParseName(name, h.Options.ServerAddr)
		if err != nil {
			continue
		}
		if mounted, err := h.mountFrom(req, d, source); mounted || err != nil {
			return mounted, err
		}
	}
	return false, nil
}

func (h *Handlers) mountFrom(req *request, d digest.Digest, source route.Name) (bool, error) {
	access := auth.Layers("get", source.Namespace, source.Stream)
	decision, err := h.Authorizer.Authorize(req.Context(), req.identity, access)
	if err != nil || !decision.Allowed {
		return false, nil //nolint:nilerr // a source that cannot be checked only disables the mount
	}
	info, err := membership.New(h.API, h.Streams, h.Store, source).Blob(req.Context(), d)
	if err == nil {
		info, err = h.Store.Rely(req.Context(), info.Digest)
	}
	if err != nil {
		return false, nil //nolint:nilerr // the client uploads instead
	}
	if err := h.Store.WriteLinks(req.Context(), req.route.Name, newLinks(store.Layers, d, info.Digest)); err != nil {
		return false, err
	}
	return true, h.created(req, d)
}

func distinct(a, b digest.Digest) []digest.Digest {
	if a == b {
		return []digest.Digest{a}
	}
	return []digest.Digest{a, b}
}

// created answers that a blob is there.
func (h *Handlers) created(req *request, d digest.Digest) error {
	header := req.w.Header()
	header.Set("Location", h.location(req, repositoryURL(req.route.Name, "blobs", d.String())))
	header.Set("Docker-Content-Digest", d.String())
	return empty(req, http.StatusCreated)
}

// progress answers how far a session is and where to go on.
func (h *Handlers) progress(req *request, id string, size int64, status int) error {
	if err := h.progressHeaders(req, id, size); err != nil {
		return err
	}
	return empty(req, status)
}

func (h *Handlers) progressHeaders(req *request, id string, size int64) error {
	token, err := h.States.Sign(uploadstate.State{Name: req.route.Name.String(), UUID: id, Offset: size, StartedAt: h.Now().UTC()})
	if err != nil {
		return err
	}
	header := req.w.Header()
	header.Set("Location", h.location(req, repositoryURL(req.route.Name, "blobs", "uploads", id)+"?_state="+token))
	header.Set("Range", "0-"+strconv.FormatInt(max(size-1, 0), 10))
	header.Set("Docker-Upload-Uuid", id)
	return nil
}

// upload continues, finishes, shows or cancels a session.
func (h *Handlers) upload(req *request) error {
	if isWrite(req.Method) {
		if err := h.checkState(req); err != nil {
			return err
		}
	}
	want, err := digestParameter(req.URL.Query())
	if err != nil {
		return err
	}
	if req.Method == http.MethodPut && want == "" {
		return apierror.New(http.StatusBadRequest, apierror.CodeDigestInvalid, "the parameter digest is missing")
	}
	if !isWrite(req.Method) {
		return h.uploadStatus(req)
	}
	upload, size, err := h.Store.ResumeUpload(req.Context(), req.route.Name, req.route.UploadID)
	switch {
	case errors.Is(err, store.ErrUploadUnknown):
		return uploadUnknown()
	case errors.Is(err, store.ErrUploadBusy):
		return h.outOfOrder(req, size, "another request writes to this upload")
	case err != nil:
		return err
	}
	switch req.Method {
	case http.MethodPatch:
		return h.patch(req, upload)
	case http.MethodPut:
		return h.finish(req, upload, want)
	}
	if err := upload.Cancel(req.Context()); err != nil {
		return err
	}
	return empty(req, http.StatusNoContent)
}

// uploadStatus answers how far a session is.
func (h *Handlers) uploadStatus(req *request) error {
	size, err := h.Store.UploadSize(req.Context(), req.route.Name, req.route.UploadID)
	if errors.Is(err, store.ErrUploadUnknown) {
		return uploadUnknown()
	}
	if err != nil {
		return err
	}
	return h.progress(req, req.route.UploadID, size, http.StatusNoContent)
}

func uploadUnknown() error {
	return apierror.New(http.StatusNotFound, apierror.CodeBlobUploadUnknown, "upload is not known to the registry")
}

// checkState verifies that the token was made for this session by a replica with the
// same secret.
func (h *Handlers) checkState(req *request) error {
	state, err := h.States.Open(req.URL.Query().Get("_state"))
	if err != nil || state.Name != req.route.Name.String() || state.UUID != req.route.UploadID {
		return apierror.New(http.StatusNotFound, apierror.CodeBlobUploadInvalid,
			"the state of the upload is not valid: use the Location of the last answer (all replicas of the registry must share http.secret)")
	}
	return nil
}

// outOfOrder is 416 with the state that the client can continue from.
func (h *Handlers) outOfOrder(req *request, size int64, message string) error {
	if err := h.progressHeaders(req, req.route.UploadID, size); err != nil {
		return err
	}
	return apierror.New(http.StatusRequestedRangeNotSatisfiable, apierror.CodeRangeInvalid, "%s", message)
}

func (h *Handlers) patch(req *request, upload *store.Upload) error {
	if err := h.checkRange(req, upload.Size()); err != nil {
		return errors.Join(err, upload.Close())
	}
	size, err := h.imageSize(req)
	if err != nil {
		return errors.Join(err, upload.Close())
	}
	// What came is kept unless it is too much: the client goes on from there.
	if err := h.append(req, upload, size); err != nil {
		return err
	}
	if err := upload.Close(); err != nil {
		return err
	}
	return h.progress(req, upload.ID, upload.Size(), http.StatusAccepted)
}

func (h *Handlers) finish(req *request, upload *store.Upload, want digest.Digest) error {
	if err := h.checkRange(req, upload.Size()); err != nil {
		return errors.Join(err, upload.Close())
	}
	size, err := h.imageSize(req)
	if err != nil {
		return errors.Join(err, upload.Close())
	}
	if err := h.append(req, upload, size); err != nil {
		return err
	}
	return h.commitWithin(req, upload, size, want)
}

func appendError(req *request, err error) error {
	var storage *store.Error
	if errors.As(err, &storage) || isRefusal(err) {
		return err
	}
	return bodyError(req, err)
}

// checkRange applies the rules for Content-Range to a chunk and to the offset that the
// client was told last.
func (h *Handlers) checkRange(req *request, size int64) error {
	text := req.Header.Get("Content-Range")
	if text == "" {
		state, err := h.States.Open(req.URL.Query().Get("_state"))
		if err == nil && state.Offset != size && req.ContentLength != 0 {
			return h.outOfOrder(req, size, "the upload does not end where it did when this Location was given")
		}
		return nil
	}
	chunk, err := parseContentRange(text)
	if err != nil {
		return h.outOfOrder(req, size, err.Error())
	}
	if chunk.first != size || chunk.last < chunk.first {
		return h.outOfOrder(req, size, "the chunk does not begin where the upload ends")
	}
	if req.ContentLength >= 0 && req.ContentLength != chunk.last-chunk.first+1 {
		return apierror.New(http.StatusBadRequest, apierror.CodeSizeInvalid, "Content-Length and Content-Range name different sizes")
	}
	return nil
}

// commit makes the blob readable, or cancels the session when it is not what the
// client said.
func (h *Handlers) commit(req *request, upload *store.Upload, want digest.Digest) error {
	_, err := upload.Commit(req.Context(), want)
	if errors.Is(err, store.ErrDigestMismatch) {
		return apierror.New(http.StatusBadRequest, apierror.CodeDigestInvalid, "the content does not have the digest %s", want).
			WithDetail(want.String()).WithCause(err)
	}
	if errors.Is(err, store.ErrUploadUnknown) {
		return uploadUnknown()
	}
	if err != nil {
		return err
	}
	return h.created(req, want)
}
