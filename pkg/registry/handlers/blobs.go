package handlers

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
	"go.uber.org/zap"
)

// youngLink is the age below which a pruner leaves links and blobs alone: a push may
// be relying on them.
const youngLink = 10 * time.Minute

// maxRanges is how many ranges one request gets; more are answered with the whole blob.
// Each costs a request to the storage, and a header has room for thousands.
const maxRanges = 16

func blobUnknown(name route.Name, d digest.Digest) error {
	return apierror.New(http.StatusNotFound, apierror.CodeBlobUnknown, "blob %s is not known to %s", d, name).WithDetail(d.String())
}

// blob serves the bytes of a blob, or for HEAD what clients need to know to skip an
// upload: that answer comes from the storage and keeps collectors away.
func (h *Handlers) blob(req *request) error {
	if served, err := h.rememberedBlob(req); served || err != nil {
		return err
	}
	info, err := req.scope.Blob(req.Context(), req.route.Digest)
	if err == nil && req.Method == http.MethodHead {
		info, err = h.Store.Rely(req.Context(), info.Digest)
	}
	if errors.Is(err, store.ErrNotFound) {
		return h.remoteBlob(req)
	}
	if err != nil {
		return err
	}
	return h.serveBlob(req, info)
}

// rememberedBlob serves a GET by what was proven lately. When the bytes are gone, all that
// is known about them goes, too, and the request is answered without the cache.
func (h *Handlers) rememberedBlob(req *request) (served bool, err error) {
	if req.Method != http.MethodGet {
		return false, nil
	}
	info, found := req.scope.RememberedBlob(req.Context(), req.route.Digest)
	if !found {
		return false, nil
	}
	err = h.sendBlob(req, info, true)
	if errors.Is(err, store.ErrNotFound) {
		h.Cache.Forget(info.Digest)
		return false, nil
	}
	return true, err
}

func blobHeader(req *request) http.Header {
	header := req.w.Header()
	header.Set("Docker-Content-Digest", req.route.Digest.String())
	header.Set("Etag", `"`+req.route.Digest.String()+`"`)
	header.Set("Cache-Control", "max-age=31536000")
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Accept-Ranges", "bytes")
	return header
}

func (h *Handlers) serveBlob(req *request, info store.Info) error {
	err := h.sendBlob(req, info, false)
	if errors.Is(err, store.ErrNotFound) {
		return blobUnknown(req.route.Name, req.route.Digest)
	}
	return err
}

// sendBlob answers with stored bytes or with the way to them. store.ErrNotFound comes before
// anything was sent. Whether bytes that are only remembered are there is looked at before a
// client is sent away: nobody would notice here that they are gone.
func (h *Handlers) sendBlob(req *request, info store.Info, remembered bool) error {
	if matchesETag(req.Header.Values("If-None-Match"), req.route.Digest) {
		blobHeader(req).Del("Content-Type")
		req.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	if req.Method == http.MethodHead {
		blobHeader(req).Set("Content-Length", strconv.FormatInt(info.Size, 10))
		req.w.WriteHeader(http.StatusOK)
		return nil
	}
	if h.redirects(req) {
		if address := h.elsewhere(req, info); address != "" {
			if remembered {
				if _, err := h.Store.Stat(req.Context(), info.Digest); err != nil {
					return err
				}
			}
			return redirect(req, info, address)
		}
	}
	if strings.Count(strings.Join(req.Header.Values("Range"), ","), ",") >= maxRanges {
		req.Header.Del("Range")
	}
	content, err := h.Store.OpenAt(req.Context(), info, firstByte(req.Header.Get("Range"), info.Size))
	if err != nil {
		return err
	}
	defer content.Close() //nolint:errcheck // everything was read or the client left
	blobHeader(req)
	http.ServeContent(req.w, req.Request, "", time.Time{}, content)
	return nil
}

// firstByte is where the answer to a Range header of one range begins, 0 when it is not as
// simple as that. Whether the header is valid is not decided here.
func firstByte(header string, size int64) int64 {
	first, last, _ := strings.Cut(strings.TrimPrefix(header, "bytes="), "-")
	number, suffix := first, first == ""
	if suffix {
		number = last
	}
	offset, err := strconv.ParseInt(number, 10, 64)
	if suffix {
		offset = max(size-offset, 0)
	}
	if err != nil || offset < 0 || offset >= size {
		return 0
	}
	return offset
}

// redirects tells whether the answer may send the client to the storage. HEAD never does.
func (h *Handlers) redirects(req *request) bool {
	return !h.Options.RedirectDisabled && req.Method == http.MethodGet
}

// elsewhere is where the storage gives the bytes to the client, or "". A storage that
// cannot sign an address can still be read here.
func (h *Handlers) elsewhere(req *request, info store.Info) string {
	address, err := h.Store.RedirectURL(req.Request, info.Digest)
	if err != nil {
		h.Log.Warn("the storage gave no address to redirect to", zap.String("request_id", req.id), zap.Error(err))
		return ""
	}
	return address
}

// redirect sends the client to the storage. The address is signed for some minutes, so no
// cache may keep the answer.
func redirect(req *request, info store.Info, address string) error {
	req.record.Redirected = info.Size
	header := req.w.Header()
	header.Set("Docker-Content-Digest", req.route.Digest.String())
	header.Set("Cache-Control", "no-store")
	header.Set("Location", address)
	return empty(req, http.StatusTemporaryRedirect)
}

// matchesETag accepts quoted, weak and bare digests.
func matchesETag(values []string, d digest.Digest) bool {
	for _, value := range values {
		for candidate := range strings.SplitSeq(value, ",") {
			candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
			if strings.Trim(candidate, `"`) == d.String() {
				return true
			}
		}
	}
	return false
}

// deleteBlob removes the link of a blob that nothing in the stream uses.
func (h *Handlers) deleteBlob(req *request) error {
	ctx, name, d := req.Context(), req.route.Name, req.route.Digest
	canonical, err := h.Store.Link(ctx, name, store.Layers, d)
	if errors.Is(err, store.ErrNotFound) {
		return blobUnknown(name, d)
	}
	if err != nil {
		return err
	}
	used, err := req.scope.Uses(ctx, canonical)
	if err != nil {
		return err
	}
	if used {
		return stillUsed("blob %s is part of an image of %s", d, name)
	}
	err = h.Store.Unlink(ctx, name, func(u *store.Unlinking) error {
		if req.pruner {
			young, err := h.isYoung(ctx, u, store.Layers, canonical)
			if err != nil {
				return err
			}
			if young {
				return stillUsed("blob %s was pushed or relied upon less than 10 minutes ago", d)
			}
		}
		for _, link := range distinct(d, canonical) {
			if err := u.RemoveLink(ctx, store.Layers, link); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return empty(req, http.StatusAccepted)
}

func stillUsed(format string, args ...any) error {
	return apierror.New(http.StatusMethodNotAllowed, apierror.CodeUnsupported, format, args...)
}

// isYoung tells whether a link or the touched marker of its bytes is young. A time in
// the future is young.
func (h *Handlers) isYoung(ctx context.Context, u *store.Unlinking, set store.Links, canonical digest.Digest) (bool, error) {
	age, err := u.LinkAge(ctx, set, canonical)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	if err == nil && age < youngLink {
		return true, nil
	}
	if set != store.Layers {
		return false, nil
	}
	touched, err := h.Store.Touched(ctx, canonical)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil && u.Age(touched) < youngLink, err
}
