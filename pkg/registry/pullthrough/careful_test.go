package pullthrough

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

var errSource = errors.New("the source failed")

// The last byte comes only with an end that is right, whatever the buffers are.
func TestTheLastByteIsHeldBack(t *testing.T) {
	content := []byte("0123456789")
	sources := map[string]func(io.Reader) io.Reader{
		"plain": func(r io.Reader) io.Reader { return r }, "one byte": iotest.OneByteReader,
		"halves": iotest.HalfReader, "end with data": iotest.DataErrReader,
	}
	for name, wrap := range sources {
		for size := 1; size <= 12; size++ {
			read := func(end error) ([]byte, error) {
				last := io.Reader(bytes.NewReader(nil))
				if end != nil {
					last = iotest.ErrReader(end)
				}
				c := &careful{reader: io.MultiReader(wrap(bytes.NewReader(content)), last), limit: -1}
				var got []byte
				buffer := make([]byte, size)
				for range 100 {
					n, err := c.Read(buffer)
					got = append(got, buffer[:n]...)
					if err != nil {
						return got, err
					}
				}
				return got, errors.New("no end")
			}
			if got, err := read(nil); !errors.Is(err, io.EOF) || !bytes.Equal(got, content) {
				t.Errorf("%s, buffer of %d: got %q, %v", name, size, got, err)
			}
			got, err := read(errSource)
			if !errors.Is(err, errSource) || len(got) >= len(content) || !bytes.HasPrefix(content, got) {
				t.Errorf("%s, buffer of %d, a source that fails at its end: got %q, %v", name, size, got, err)
			}
		}
	}
}

func TestASourceThatSendsTooMuchIsCutOff(t *testing.T) {
	for limit, want := range map[int64]error{9: errTooLong, 10: nil, 11: nil, -1: nil} {
		_, err := io.ReadAll(&careful{reader: bytes.NewReader([]byte("0123456789")), limit: limit})
		if !errors.Is(err, want) {
			t.Errorf("limit %d: %v, want %v", limit, err, want)
		}
	}
}

func TestAPartIsAsLongAsItShouldBe(t *testing.T) {
	for left, want := range map[int64]error{3: nil, 10: nil, 11: io.ErrUnexpectedEOF} {
		got, err := io.ReadAll(&exactly{reader: bytes.NewReader([]byte("0123456789")), left: left})
		if !errors.Is(err, want) || int64(len(got)) != min(left, 10) {
			t.Errorf("%d bytes: got %q, %v, want %v", left, got, err, want)
		}
	}
}
