package pullthrough

import (
	"context"
	"errors"
	"io"

	"image.alauda.io/registry/pkg/oci/remote"
)

// shared is one client's view of a download. While it keeps up it reads along; when it
// falls behind, it goes on from the storage if the blob is there soon, else from the
// source.
type shared struct {
	service  *Service
	ctx      context.Context //nolint:containedctx // io.Reader has no room for it
	request  Request
	list     []source
	download *download
	// reader is nil for who came too late to read along.
	reader *follower
	// rest is where the reader goes on.
	rest io.ReadCloser
}

// Read implements io.Reader.
func (c *shared) Read(p []byte) (int, error) {
	if c.rest != nil {
		return c.rest.Read(p)
	}
	n, err := c.reader.read(c.ctx, p)
	if !errors.Is(err, errLeftBehind) {
		return n, err
	}
	c.reader.close()
	if c.rest, err = c.goOn(c.reader.offset); err != nil {
		return 0, err
	}
	return c.rest.Read(p)
}

// Close implements io.Closer. The download goes on.
func (c *shared) Close() error {
	if c.reader != nil {
		c.reader.close()
	}
	if c.rest != nil {
		return c.rest.Close()
	}
	return nil
}

func (c *shared) goOn(offset int64) (io.ReadCloser, error) {
	info, err := c.service.waitLate(c.ctx, c.download)
	if err == nil {
		content, err := c.service.options.Store.Open(c.ctx, info)
		if err != nil {
			return nil, err
		}
		if _, err := content.Seek(offset, io.SeekStart); err != nil {
			return nil, errors.Join(err, content.Close())
		}
		return content, nil
	}
	if c.ctx.Err() != nil || remote.KindOf(err) == remote.ContentIntegrity || errors.Is(err, errTooLong) {
		return nil, err
	}
	return c.direct(offset)
}

// direct opens the source once more, at the offset if it can.
func (c *shared) direct(offset int64) (io.ReadCloser, error) {
	if offset > 0 && c.download.size > offset {
		blob, err := c.service.openRange(c.ctx, &c.request, c.list, Range{offset, c.download.size - 1})
		if err != nil {
			return nil, err
		}
		if blob.ContentRange != "" {
			return withCloser{&exactly{reader: blob.Body, left: c.download.size - offset}, blob.Body}, nil
		}
		if err := blob.Body.Close(); err != nil {
			return nil, err
		}
	}
	content, err := c.service.direct(c.ctx, &c.request, c.list)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, content.Body, offset); err != nil {
		return nil, errors.Join(err, content.Body.Close())
	}
	return content.Body, nil
}
