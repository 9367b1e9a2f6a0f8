package handlers

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"

	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/imagebuild"
	"image.alauda.io/registry/pkg/registry/limits"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
)

// maxWarnings bounds the bytes of all Warning headers of an answer.
const maxWarnings = 4096

// bounded is the body of a request that ends with a refusal where the upload becomes larger
// than an image of the namespace may be.
type bounded struct {
	body    io.Reader
	size    limits.Size
	present int64
}

// bound applies the limit to a body that follows the bytes of a session. What the client
// announces is compared before anything is read.
func bound(req *request, size limits.Size, present int64) (io.Reader, error) {
	if !size.Limited() {
		return req.Body, nil
	}
	if req.ContentLength > size.Room(present) {
		return nil, tooLarge(size.Check(present + min(req.ContentLength, math.MaxInt64-present)))
	}
	return &bounded{body: req.Body, size: size, present: present}, nil
}

// Read implements io.Reader. It reads one byte more than there is room for: only that
// proves that the body is too large.
func (b *bounded) Read(p []byte) (int, error) {
	if room := b.size.Room(b.present); int64(len(p)) > room {
		p = p[:min(int64(len(p)), room+1)]
	}
	n, err := b.body.Read(p)
	b.present += int64(n)
	if refusal := b.size.Check(b.present); refusal != nil {
		return 0, tooLarge(refusal)
	}
	return n, err
}

// tooLarge ends the connection as well: the rest of the body is not wanted.
func tooLarge(err error) error {
	var refusal *apierror.Error
	if errors.As(err, &refusal) {
		return refusal.WithHeader("Connection", "close")
	}
	return err
}

// imageSize is the limit of the request's namespace.
func (h *Handlers) imageSize(req *request) (limits.Size, error) {
	return h.Limits.ImageSize(req.Context(), req.route.Name.Namespace)
}

// commitWithin commits a session whose size is allowed. One that is too large is cancelled
// at once: no retry makes it smaller.
func (h *Handlers) commitWithin(req *request, upload *store.Upload, size limits.Size, want digest.Digest) error {
	if err := size.Check(upload.Size()); err != nil {
		return errors.Join(err, upload.Cancel(req.Context()))
	}
	return h.commit(req, upload, want)
}

// append adds the request's body to a session within the limit. After an error the session
// is ended: cancelled when it has become too large, else kept for a retry.
func (h *Handlers) append(req *request, upload *store.Upload, size limits.Size) error {
	body, err := bound(req, size, upload.Size())
	if err == nil {
		_, err = upload.Append(body)
	}
	switch {
	case err == nil:
		return nil
	case isRefusal(err):
		return errors.Join(err, upload.Cancel(req.Context()))
	}
	return errors.Join(appendError(req, err), upload.Close())
}

// checkLimits compares an image with what its namespace may have. The children of an index
// were compared when they came. The image API sees no push by digest, so its quota is
// checked here.
func (p *push) checkLimits(ctx context.Context) error {
	namespace := p.req.route.Name.Namespace
	if !p.manifest.IsIndex() {
		size, err := p.Limits.ImageSize(ctx, namespace)
		if err != nil {
			return err
		}
		if err := size.Check(imagebuild.BlobsSize(p.manifest)); err != nil {
			return err
		}
	}
	if len(p.tags) > 0 {
		return nil
	}
	return p.Limits.AnotherImage(ctx, namespace)
}

// warn tells the client of a push that is done which quotas are nearly used up.
func (h *Handlers) warn(req *request, header http.Header) {
	total := 0
	for _, text := range h.Limits.Warnings(req.Context(), req.route.Name.Namespace) {
		warning := `299 - "` + text + `"`
		if total += len(warning); total > maxWarnings {
			return
		}
		header.Add("Warning", warning)
	}
}
