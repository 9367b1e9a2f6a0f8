package handlers

import (
	"errors"
	"io"
	"net/http"

	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/membership"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// manifest serves a manifest by tag or digest, exactly as it was pushed.
func (h *Handlers) manifest(req *request) error {
	requested, canonical, err := h.resolve(req)
	if err != nil && (req.route.Tag != "" || !errors.Is(err, store.ErrNotFound)) {
		return err
	}
	raw, mediaType, err := h.readManifest(req, requested, canonical, err)
	if req.route.Tag != "" && errors.Is(err, store.ErrNotFound) {
		// The tag may have moved away from content that is gone.
		moved, again := req.scope.FreshTag(req.Context(), req.route.Tag)
		if again != nil {
			return again
		}
		if moved != canonical {
			requested, canonical = moved, moved
			raw, mediaType, err = h.readManifest(req, moved, moved, nil)
		}
	}
	if err != nil {
		return err
	}
	if req.route.Tag != "" {
		requested = h.Store.TagAlias(req.Context(), req.route.Name, req.route.Tag, canonical)
	}
	if req.route.Tag != "" && manifest.IsIndex(mediaType) {
		if child := h.childFor(req, raw, mediaType); child != nil {
			requested, raw, mediaType = child.Digest, child.Raw, child.MediaType
		}
	}
	return serveManifest(req, requested, raw, mediaType)
}

// resolve finds which digest is meant and the canonical one behind it.
func (h *Handlers) resolve(req *request) (requested, canonical digest.Digest, err error) {
	if req.route.Tag != "" {
		canonical, err = req.scope.Tag(req.Context(), req.route.Tag)
		return canonical, canonical, err
	}
	canonical, err = req.scope.Manifest(req.Context(), req.route.Digest)
	if errors.Is(err, store.ErrNotFound) && !isRefusal(err) {
		err = membership.ManifestUnknown("manifest %s is not known to %s", req.route.Digest, req.route.Name)
	}
	return req.route.Digest, canonical, err
}

func isRefusal(err error) bool {
	var known *apierror.Error
	return errors.As(err, &known)
}

// readManifest gets the bytes from the store, or from where the stream says that the image
// comes from. unknown is set when the repository may not read it from the store.
func (h *Handlers) readManifest(req *request, requested, canonical digest.Digest, unknown error) ([]byte, string, error) {
	if unknown == nil {
		raw, mediaType, err := h.storedManifest(req, requested, canonical)
		if !errors.Is(err, store.ErrNotFound) {
			return raw, mediaType, err
		}
		unknown = err
	}
	raw, err := h.remoteManifest(req, requested, unknown)
	if err != nil {
		return nil, "", err
	}
	return raw, manifest.TypeOf(raw), nil
}

// storedManifest gets the bytes from the store. HEAD keeps collectors away, because
// clients skip a push when the manifest is there. By digest it may be one that no tag
// protects, so one that is being deleted is absent then.
func (h *Handlers) storedManifest(req *request, requested, canonical digest.Digest) ([]byte, string, error) {
	var known *store.Info
	if req.Method == http.MethodHead {
		info, err := h.Store.Rely(req.Context(), canonical)
		if errors.Is(err, store.ErrNotFound) && req.route.Digest != "" {
			return nil, "", notStored(req, requested)
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, "", err
		}
		if err == nil {
			known = &info
		}
	}
	raw, err := h.Store.ServedManifest(req.Context(), canonical, known)
	if errors.Is(err, store.ErrNotFound) {
		return nil, "", notStored(req, requested)
	}
	if err != nil {
		return nil, "", err
	}
	return raw, manifest.TypeOf(raw), nil
}

func notStored(req *request, requested digest.Digest) error {
	return membership.ManifestUnknown("manifest %s of %s is not in the store of this registry", requested, req.route.Name)
}

// childFor finds the linux/amd64 child for a client that takes single manifests only.
// Whatever goes wrong, the client gets the index.
func (h *Handlers) childFor(req *request, raw []byte, mediaType string) *manifest.Manifest {
	accepted := parseAccept(req.Header.Values("Accept"))
	if accepted.allows(mediaType) || !accepted.allows(manifest.OCIManifest) && !accepted.allows(manifest.DockerManifest) {
		return nil
	}
	index, err := manifest.Parse(raw, mediaType)
	if err != nil {
		return nil
	}
	for _, child := range index.Manifests {
		if !isLinuxAMD64(child) || manifest.IsIndex(child.MediaType) {
			continue
		}
		bytes, err := h.childManifest(req, child.Digest)
		if err != nil {
			return nil
		}
		parsed, err := manifest.Parse(bytes, "")
		if err != nil || parsed.IsIndex() {
			return nil
		}
		return parsed
	}
	return nil
}

func (h *Handlers) childManifest(req *request, child digest.Digest) ([]byte, error) {
	canonical, err := req.scope.Manifest(req.Context(), child)
	if err == nil {
		var raw []byte
		if raw, err = h.Store.ServedManifest(req.Context(), canonical, nil); err == nil {
			return raw, nil
		}
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	return h.remoteManifest(req, child, err)
}

func isLinuxAMD64(child v1.Descriptor) bool {
	return child.Platform != nil && child.Platform.OS == "linux" && child.Platform.Architecture == "amd64"
}

func serveManifest(req *request, d digest.Digest, raw []byte, mediaType string) error {
	header := req.w.Header()
	header.Set("Docker-Content-Digest", d.String())
	header.Set("Etag", `"`+d.String()+`"`)
	if matchesETag(req.Header.Values("If-None-Match"), d) {
		req.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return writeBytes(req, http.StatusOK, mediaType, raw)
}

// putManifest stores a manifest, records it in the image API and links it: in this
// order, so that a refusal of the API leaves nothing reachable, and a crash in between
// leaves either a tag whose bytes are there or bytes that nobody names. Every step can
// be repeated.
func (h *Handlers) putManifest(req *request) error {
	tags, err := tagParameters(req)
	if err != nil {
		return err
	}
	pushed, err := h.receive(req)
	if err != nil {
		return err
	}
	push := &push{Handlers: h, req: req, manifest: pushed, tags: tags}
	if err := push.run(req.Context()); err != nil {
		return err
	}
	requested := req.route.Digest
	if requested == "" {
		requested = pushed.Digest
	}
	header := req.w.Header()
	header.Set("Location", h.location(req, repositoryURL(req.route.Name, "manifests", requested.String())))
	header.Set("Docker-Content-Digest", requested.String())
	if pushed.Subject != nil {
		header.Set("Oci-Subject", pushed.Subject.Digest.String())
	}
	h.warn(req, header)
	if req.route.Tag == "" {
		for _, tag := range tags {
			header.Add("Oci-Tag", tag)
		}
	}
	return empty(req, http.StatusCreated)
}

const maxTagParameters = 32

// tagParameters returns the tags that the push is for: that of the path, or those of
// the parameters of a push by digest.
func tagParameters(req *request) ([]string, error) {
	values := req.URL.Query()["tag"]
	if req.route.Tag != "" {
		if len(values) > 0 {
			return nil, apierror.New(http.StatusBadRequest, apierror.CodeTagInvalid, "the parameter tag needs a push by digest")
		}
		return []string{req.route.Tag}, nil
	}
	if len(values) > maxTagParameters {
		return nil, apierror.New(http.StatusRequestURITooLong, apierror.CodeTagInvalid, "more than %d tags in one request", maxTagParameters)
	}
	seen := map[string]bool{}
	var tags []string
	for _, value := range values {
		tag, err := route.ParseTag(value)
		if err != nil {
			return nil, err
		}
		if !seen[tag] {
			seen[tag] = true
			tags = append(tags, tag)
		}
	}
	return tags, nil
}

// receive reads and checks the document and its digest.
func (h *Handlers) receive(req *request) (*manifest.Manifest, error) {
	limit := h.Options.MaxManifestSize
	tooLarge := func() error {
		return apierror.New(http.StatusRequestEntityTooLarge, apierror.CodeManifestInvalid, "the manifest is larger than %d bytes", limit).
			WithHeader("Connection", "close")
	}
	if req.ContentLength > limit {
		return nil, tooLarge()
	}
	raw, err := readLimited(req, limit)
	if err != nil {
		return nil, bodyError(req, err)
	}
	if int64(len(raw)) > limit {
		return nil, tooLarge()
	}
	if req.route.Digest != "" {
		if err := manifest.Verify(raw, req.route.Digest); err != nil {
			return nil, apierror.New(http.StatusBadRequest, apierror.CodeDigestInvalid, "%s", err)
		}
	}
	parsed, err := manifest.Parse(raw, req.Header.Get("Content-Type"))
	if err != nil {
		return nil, apierror.New(http.StatusBadRequest, apierror.CodeManifestInvalid, "%s", err)
	}
	return parsed, nil
}

// readLimited reads at most one byte more than the limit.
func readLimited(req *request, limit int64) ([]byte, error) {
	if req.ContentLength > 0 {
		raw := make([]byte, req.ContentLength)
		_, err := io.ReadFull(req.Body, raw)
		return raw, err
	}
	return io.ReadAll(io.LimitReader(req.Body, limit+1))
}
