package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"image.alauda.io/registry/pkg/oci/manifest"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
)

// Content reads stored bytes. It opens the driver's reader at the offset where reading
// starts and holds no buffer of its own.
type Content struct {
	ctx    context.Context //nolint:containedctx // io.ReadSeeker has no room for it
	driver driver.StorageDriver
	path   string
	size   int64

	offset   int64 // where the caller reads
	position int64 // where the reader stands
	reader   io.ReadCloser
	failures int // since the last byte
}

// maxReadFailures is how often in a row reading goes on after a broken connection to the
// storage. The client would have to begin anew.
const maxReadFailures = 3

// Open returns the bytes of a blob and fails when they are not there.
func (s *Store) Open(ctx context.Context, info Info) (*Content, error) {
	return s.OpenAt(ctx, info, 0)
}

// OpenAt is Open for who begins to read at an offset: an object store would be asked for
// all bytes first, on a connection that is of no use afterwards. The content begins at 0 like
// any other, and offsets outside of the blob are those of its end.
func (s *Store) OpenAt(ctx context.Context, info Info, offset int64) (*Content, error) {
	defer s.timed("BlobStore.Open")()
	content := &Content{ctx: ctx, driver: s.driver, path: blobPath(info.Digest), size: info.Size}
	content.offset = min(max(offset, 0), info.Size)
	defer func() { content.offset = 0 }()
	return content, content.open()
}

// open makes the reader stand where the caller reads.
func (c *Content) open() error {
	if c.reader != nil && c.position == c.offset {
		return nil
	}
	_ = c.Close() // a reader that is not used any more has nothing to say
	reader, err := c.driver.Reader(c.ctx, c.path, c.offset)
	switch {
	case isNotFound(err):
		return fmt.Errorf("%s: %w", c.path, ErrNotFound)
	case err != nil:
		return &Error{"open " + c.path, err}
	}
	c.reader, c.position = reader, c.offset
	return nil
}

// Read implements io.Reader.
func (c *Content) Read(p []byte) (int, error) {
	if c.offset >= c.size {
		return 0, io.EOF
	}
	if err := c.open(); err != nil {
		return 0, err
	}
	n, err := c.reader.Read(p)
	c.offset += int64(n)
	c.position = c.offset
	if n > 0 {
		c.failures = 0
	}
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	if c.failures++; c.failures > maxReadFailures || c.ctx.Err() != nil {
		return n, &Error{"read " + c.path, err}
	}
	_ = c.Close() // the next Read opens another one where this one ended
	return n, nil
}

// Seek implements io.Seeker. It costs nothing until the next Read.
func (c *Content) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += c.offset
	case io.SeekEnd:
		offset += c.size
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek %s: negative position", c.path)
	}
	c.offset = offset
	return offset, nil
}

// Close releases the reader.
func (c *Content) Close() error {
	if c.reader == nil {
		return nil
	}
	err := c.reader.Close()
	c.reader = nil
	return err
}

// RedirectURL returns where a client can fetch the bytes by itself, or "". It does not look
// whether they are there.
func (s *Store) RedirectURL(r *http.Request, canonical digest.Digest) (string, error) {
	address, err := s.driver.RedirectURL(r, blobPath(canonical))
	if err != nil {
		var unsupported driver.ErrUnsupportedMethod
		if errors.As(err, &unsupported) {
			return "", nil
		}
		return "", &Error{"redirect " + canonical.String(), err}
	}
	// A middleware that only changes the host makes half an address of none.
	if parsed, err := url.Parse(address); err != nil || parsed.Host == "" || parsed.Scheme != "https" && parsed.Scheme != "http" {
		return "", nil //nolint:nilerr // the bytes can be had here
	}
	return address, nil
}

// Manifest returns the bytes of a manifest or of another small blob and checks them
// against their digest: a corrupt file is never served. Digests come from clients and may
// be those of large blobs; such a blob is no manifest and ErrNotFound.
func (s *Store) Manifest(ctx context.Context, canonical digest.Digest) ([]byte, error) {
	defer s.timed("BlobStore.Get")()
	limit := max(manifest.MaxConfigBytes, s.options.MaxManifest)
	content, err := s.Open(ctx, Info{Digest: canonical, Size: limit + 1})
	if err != nil {
		return nil, err
	}
	defer content.Close() //nolint:errcheck // everything was read
	raw, err := io.ReadAll(content)
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) > limit {
		return nil, fmt.Errorf("%s is too large to be a manifest: %w", canonical, ErrNotFound)
	}
	if manifest.Canonical(raw) != canonical {
		return nil, fmt.Errorf("%s: %w", canonical, ErrCorrupt)
	}
	return raw, nil
}

// PutManifest stores the bytes of a manifest under their canonical digest. Bytes that
// are there already are relied upon by the rules of Rely, damaged ones are replaced. Bytes
// that are being deleted are waited for to go: what is put over them would go with them.
func (s *Store) PutManifest(ctx context.Context, raw []byte, canonical digest.Digest) error {
	deadline := s.options.Now().Add(deletionWait)
	for {
		_, err := s.Rely(ctx, canonical)
		if err == nil {
			_, err = s.Manifest(ctx, canonical)
		}
		if err == nil || !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrCorrupt) {
			return err
		}
		deleting := false
		if errors.Is(err, ErrNotFound) {
			if deleting, err = s.Stored(ctx, canonical); err != nil {
				return err
			}
		}
		if !deleting {
			if err := s.put(ctx, blobPath(canonical), raw); err != nil {
				return err
			}
			if kept, err := s.isKept(ctx, canonical); err != nil || kept {
				return err
			}
		}
		if err := s.awaitDeletion(ctx, canonical, deadline); err != nil {
			return err
		}
	}
}

// isKept tells whether bytes that were written a moment ago are there and nobody has announced
// to take them. The announcement comes first: it ends after the removal.
func (s *Store) isKept(ctx context.Context, canonical digest.Digest) (bool, error) {
	_, err := s.stat(ctx, markerPath(deletingMarker, canonical))
	if !errors.Is(err, ErrNotFound) {
		return false, err
	}
	return s.Stored(ctx, canonical)
}
