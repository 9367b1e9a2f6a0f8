package pullthrough

import (
	"errors"
	"io"
)

// errTooLong: a source sends more than the image says that there is.
var errTooLong = errors.New("the source sends more bytes than the image says")

// careful holds the last byte of a stream back until its end was read without an error,
// which is when its digest is known to be right: whoever reads through it never gets all
// bytes of something wrong. Beyond limit bytes, unless that is negative, it fails.
type careful struct {
	reader io.Reader
	limit  int64

	read int64
	held byte
	has  bool
	err  error
}

// Read implements io.Reader.
func (c *careful) Read(p []byte) (int, error) {
	if c.err != nil || len(p) == 0 {
		return 0, c.err
	}
	space, before := p, 0
	var one [1]byte
	switch {
	case c.has && len(p) == 1:
		space = one[:]
	case c.has:
		p[0] = c.held
		space, before = p[1:], 1
	}
	n, err := c.reader.Read(space)
	c.read += int64(n)
	if c.limit >= 0 && c.read > c.limit {
		n, err = 0, errTooLong
	}
	if c.has && len(p) == 1 {
		return c.single(p, one[0], n, err)
	}
	n += before
	switch {
	case errors.Is(err, io.EOF):
		c.err = io.EOF
		return n, io.EOF
	case err != nil:
		c.err = err
		return max(n-1, 0), err
	case n == 0:
		return 0, nil
	}
	c.held, c.has = p[n-1], true
	return n - 1, nil
}

// single is Read for a buffer of one byte.
func (c *careful) single(p []byte, next byte, n int, err error) (int, error) {
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
		return 0, err
	}
	if n == 0 && err == nil {
		return 0, nil
	}
	p[0] = c.held
	c.held, c.has = next, n > 0
	if errors.Is(err, io.EOF) && n == 0 {
		c.err = io.EOF
	} else if err != nil {
		// The last byte is left for the next call; the reader repeats its io.EOF.
		c.reader = eof{}
	}
	return 1, nil
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }
