package pullthrough

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/oci/remote"
	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/store"
)

// Content is a blob of another registry that is being read.
type Content struct {
	// Stored is set, and Body is not, when the blob is in the own storage by now.
	Stored *store.Info
	// Body ends with an error when the blob is not what its digest says; then its last
	// byte was not given out.
	Body io.ReadCloser
	// Size is the number of bytes of the whole blob, or -1 when the source does not say.
	Size int64
	// Part is true when Body is what was asked for of the blob, and not all of it.
	Part bool
}

// Range is a part of a blob, both ends included.
type Range struct{ First, Last int64 }

// sources finds where a blob that the stream contains can be had.
func (s *Service) sources(ctx context.Context, r *Request) ([]source, *imagev1.ImageStreamLayers, error) {
	layers, err := r.Layers(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, s.refusal(r, nil, apierror.CodeBlobUnknown)
	}
	if err != nil {
		return nil, nil, err
	}
	if !contains(layers, r.Digest) {
		return nil, nil, s.refusal(r, nil, apierror.CodeBlobUnknown)
	}
	list := blobSources(events(r.Stream, s.own), layers, r.Digest, s.options.Limits.Sources)
	if len(list) == 0 {
		return nil, nil, s.refusal(r, nil, apierror.CodeBlobUnknown)
	}
	return list, layers, s.checkLoop(r)
}

// Stat asks for the size of a blob, which is -1 when neither source nor image says it.
// Nothing is downloaded.
func (s *Service) Stat(ctx context.Context, r Request) (int64, error) {
	list, layers, err := s.sources(ctx, &r)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.Limits.Search)
	defer cancel()
	size, err := search(ctx, s, &r, list, "Stat", apierror.CodeBlobUnknown, func(repository *remote.Repository) (int64, error) {
		return repository.StatBlob(ctx, r.Digest)
	})
	if err == nil && size < 0 {
		size = sizeOf(layers, r.Digest)
	}
	return size, err
}

// Open reads a whole blob. Where blobs are kept, all clients of the repository read one
// download; otherwise each has its own. The caller closes the body.
func (s *Service) Open(ctx context.Context, r Request) (*Content, error) {
	list, layers, err := s.sources(ctx, &r)
	if err != nil {
		return nil, err
	}
	if !s.options.Mirror {
		return s.direct(ctx, &r, list)
	}
	d, reader := s.share(&r, layers, list, forReader)
	if d == nil {
		return s.direct(ctx, &r, list)
	}
	body := &shared{service: s, ctx: ctx, request: r, list: list, reader: reader, download: d}
	select {
	case <-d.opened:
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), body.Close())
	}
	if d.refused != nil {
		return nil, errors.Join(d.refused, body.Close())
	}
	if reader != nil {
		return &Content{Body: body, Size: d.size}, nil
	}
	info, err := s.waitLate(ctx, d)
	switch {
	case err == nil:
		return &Content{Stored: &info}, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return s.direct(ctx, &r, list)
}

// waitLate waits for the end of a download that cannot be read along, but not for long.
func (s *Service) waitLate(ctx context.Context, d *download) (store.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, s.options.Limits.Late)
	defer cancel()
	return d.wait(ctx)
}

// direct reads a blob for one client alone.
func (s *Service) direct(ctx context.Context, r *Request, list []source) (*Content, error) {
	blob, err := search(ctx, s, r, list, "Blob", apierror.CodeBlobUnknown, func(repository *remote.Repository) (*remote.Blob, error) {
		return repository.OpenBlob(ctx, r.Digest, "")
	})
	if err != nil {
		return nil, err
	}
	return &Content{Size: blob.Size, Body: withCloser{&careful{reader: blob.Body, limit: -1}, blob.Body}}, nil
}

type withCloser struct {
	io.Reader
	io.Closer
}

// OpenRange reads a part of a blob, which the source may answer with the whole. Where
// blobs are kept, the whole one is fetched in the background.
func (s *Service) OpenRange(ctx context.Context, r Request, part Range) (*Content, error) {
	list, layers, err := s.sources(ctx, &r)
	if err != nil {
		return nil, err
	}
	blob, err := s.openRange(ctx, &r, list, part)
	if err != nil {
		return nil, err
	}
	if s.options.Mirror {
		s.share(&r, layers, list, forNobody)
	}
	if blob.ContentRange == "" {
		return &Content{Size: blob.Size, Body: withCloser{&careful{reader: blob.Body, limit: -1}, blob.Body}}, nil
	}
	body := &exactly{reader: blob.Body, left: part.Last - part.First + 1}
	return &Content{Size: blob.Size, Part: true, Body: withCloser{body, blob.Body}}, nil
}

func (s *Service) openRange(ctx context.Context, r *Request, list []source, part Range) (*remote.Blob, error) {
	wanted := fmt.Sprintf("bytes=%d-%d", part.First, part.Last)
	return search(ctx, s, r, list, "BlobRange", apierror.CodeBlobUnknown, func(repository *remote.Repository) (*remote.Blob, error) {
		blob, err := repository.OpenBlob(ctx, r.Digest, wanted)
		if err != nil || blob.ContentRange == "" {
			return blob, err
		}
		var first, last int64
		if _, err := fmt.Sscanf(blob.ContentRange, "bytes %d-%d/", &first, &last); err != nil || first != part.First || last != part.Last {
			return nil, errors.Join(&remote.Error{Kind: remote.Internal, Message: "the registry sent another part of the blob than it was asked for"}, blob.Body.Close())
		}
		return blob, nil
	})
}

// exactly reads as many bytes as a part has, and fails when there are fewer.
type exactly struct {
	reader io.Reader
	left   int64
}

// Read implements io.Reader.
func (e *exactly) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n, err := e.reader.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	if errors.Is(err, io.EOF) && e.left > 0 {
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

// Obtain brings a blob into the repository, whatever is configured for pulls, because a
// push is to name it: that a source says it has something proves nothing.
func (s *Service) Obtain(ctx context.Context, r Request) (store.Info, error) {
	list, layers, err := s.sources(ctx, &r)
	if err != nil {
		return store.Info{}, err
	}
	later := func(cause error) error {
		return apierror.Unavailable(cause, "blob %s is still being fetched from its source, try again", r.Digest).WithRetryAfter(10 * time.Second)
	}
	d, _ := s.share(&r, layers, list, forPush)
	if d == nil {
		return store.Info{}, later(errNotKept)
	}
	waiting, cancel := context.WithTimeout(ctx, s.options.Limits.Obtain)
	defer cancel()
	info, err := d.wait(waiting)
	var refused *apierror.Error
	var storage *store.Error
	switch {
	case err == nil, errors.As(err, &refused), errors.As(err, &storage):
		return info, err
	case ctx.Err() != nil:
		return store.Info{}, ctx.Err()
	case waiting.Err() != nil:
		return store.Info{}, later(waiting.Err())
	}
	return store.Info{}, apierror.Unavailable(err, "blob %s cannot be fetched from its source at the moment", r.Digest)
}
