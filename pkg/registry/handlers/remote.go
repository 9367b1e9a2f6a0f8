package handlers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/membership"
	"image.alauda.io/registry/pkg/registry/pullthrough"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

// wish is what the request asks of other registries; it fails with store.ErrNotFound in
// the error when there is no stream.
func wish(ctx context.Context, scope *membership.Scope, r *http.Request, tag string, d digest.Digest) (pullthrough.Request, error) {
	stream, err := scope.Stream(ctx)
	if err != nil {
		return pullthrough.Request{}, err
	}
	return pullthrough.Request{
		Name: scope.Name(), Stream: stream, Layers: scope.Layers, Tag: tag, Digest: d, Passed: r.Header.Values(pullthrough.HeaderPassed),
		Trace: trace.SpanContextFromContext(ctx),
	}, nil
}

// remoteManifest fetches a manifest that the stream has by import. unknown is the answer
// when it has not.
func (h *Handlers) remoteManifest(req *request, d digest.Digest, unknown error) ([]byte, error) {
	tag := req.route.Tag
	wanted, err := wish(req.Context(), req.scope, req.Request, tag, d)
	if errors.Is(err, store.ErrNotFound) {
		return nil, unknown
	}
	if err != nil {
		return nil, err
	}
	raw, err := h.PullThrough.Manifest(req.Context(), wanted)
	if errors.Is(err, pullthrough.ErrNoSource) {
		return nil, unknown
	}
	if err == nil {
		req.record.Upstream = h.PullThrough.LastSource(req.route.Name, d)
	}
	return raw, err
}

// remoteBlob serves a blob that the stream has by import. HEAD downloads nothing.
func (h *Handlers) remoteBlob(req *request) error {
	ctx := req.Context()
	unknown := blobUnknown(req.route.Name, req.route.Digest)
	wanted, err := wish(ctx, req.scope, req.Request, "", req.route.Digest)
	if errors.Is(err, store.ErrNotFound) {
		return unknown
	}
	if err != nil {
		return err
	}
	part := req.Header.Get("Range")
	unchanged := matchesETag(req.Header.Values("If-None-Match"), req.route.Digest)
	if req.Method == http.MethodHead || unchanged || part != "" {
		size, err := h.PullThrough.Stat(ctx, wanted)
		if errors.Is(err, pullthrough.ErrNoSource) {
			return unknown
		}
		if err != nil {
			return err
		}
		if req.Method == http.MethodHead || unchanged {
			return describeRemote(req, size, unchanged)
		}
		if one, ok := h.partOf(req, part, size); ok {
			return h.remotePart(req, wanted, one, size)
		}
	}
	content, err := h.PullThrough.Open(ctx, wanted)
	if errors.Is(err, pullthrough.ErrNoSource) {
		return unknown
	}
	if err != nil {
		return err
	}
	if content.Stored != nil {
		return h.serveBlob(req, *content.Stored)
	}
	defer content.Body.Close() //nolint:errcheck // everything was read or the client left
	return h.sendRemote(req, http.StatusOK, content.Size, content.Body)
}

// describeRemote answers without the bytes.
func describeRemote(req *request, size int64, unchanged bool) error {
	header := blobHeader(req)
	if unchanged {
		header.Del("Content-Type")
		req.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	if size >= 0 {
		header.Set("Content-Length", strconv.FormatInt(size, 10))
	}
	req.w.WriteHeader(http.StatusOK)
	return nil
}

// part is a range of a blob; satisfiable is false when the blob ends before it.
type part struct {
	pullthrough.Range
	satisfiable bool
}

// partOf reads a Range header. Several ranges, other units, and a condition that does not
// hold are answered with the whole blob, as is a range of what nobody knows the size of.
func (h *Handlers) partOf(req *request, text string, size int64) (part, bool) {
	if condition := req.Header.Get("If-Range"); condition != "" && !matchesETag([]string{condition}, req.route.Digest) {
		return part{}, false
	}
	first, last, found := strings.Cut(strings.TrimPrefix(text, "bytes="), "-")
	if !strings.HasPrefix(text, "bytes=") || !found || size < 0 {
		return part{}, false
	}
	if first == "" {
		suffix, err := strconv.ParseUint(last, 10, 63)
		if err != nil {
			return part{}, false
		}
		length := min(int64(suffix), size)
		return part{pullthrough.Range{First: size - length, Last: size - 1}, length > 0}, true
	}
	from, err := strconv.ParseUint(first, 10, 63)
	if err != nil {
		return part{}, false
	}
	to := uint64(size - 1)
	if last != "" {
		given, err := strconv.ParseUint(last, 10, 63)
		if err != nil || given < from {
			return part{}, false
		}
		to = min(given, uint64(max(size-1, 0)))
	}
	return part{pullthrough.Range{First: int64(from), Last: int64(to)}, int64(from) < size}, true
}

func (h *Handlers) remotePart(req *request, wanted pullthrough.Request, wish part, size int64) error {
	if !wish.satisfiable {
		return apierror.New(http.StatusRequestedRangeNotSatisfiable, apierror.CodeRangeInvalid, "the blob has %d bytes", size).
			WithHeader("Content-Range", fmt.Sprintf("bytes */%d", size))
	}
	content, err := h.PullThrough.OpenRange(req.Context(), wanted, wish.Range)
	if err != nil {
		return err
	}
	defer content.Body.Close() //nolint:errcheck // everything was read or the client left
	if !content.Part {
		return h.sendRemote(req, http.StatusOK, content.Size, content.Body)
	}
	req.w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", wish.First, wish.Last, size))
	return h.sendRemote(req, http.StatusPartialContent, wish.Last-wish.First+1, content.Body)
}

// sendRemote passes bytes on. When they end too early the connection is cut, so that the
// client does not take what it has for everything.
func (h *Handlers) sendRemote(req *request, status int, size int64, body io.Reader) error {
	header := blobHeader(req)
	if size >= 0 {
		header.Set("Content-Length", strconv.FormatInt(size, 10))
	}
	req.record.Remote, req.record.Upstream = true, h.PullThrough.LastSource(req.route.Name, req.route.Digest)
	req.w.WriteHeader(status)
	watched := &watchedReader{reader: body}
	sent, err := io.Copy(req.w, watched)
	if err == nil && (size < 0 || sent == size) {
		return nil
	}
	if watched.err != nil && req.Context().Err() == nil {
		h.Log.Warn("a pull from another registry broke off", zap.String("request_id", req.id),
			zap.Stringer("repository", req.route.Name), zap.Stringer("digest", req.route.Digest), zap.Error(watched.err))
	}
	return fmt.Errorf("%w: blob %s ended after %d bytes: %w", ErrClientGone, req.route.Digest, sent, errors.Join(err, watched.err))
}

// watchedReader keeps errors of the source apart from errors of the client.
type watchedReader struct {
	reader io.Reader
	err    error
}

// Read implements io.Reader.
func (w *watchedReader) Read(p []byte) (int, error) {
	n, err := w.reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}
