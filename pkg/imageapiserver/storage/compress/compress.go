// Package compress holds the format in which API objects are stored: their JSON, compressed with zstd
// or as it is.
//
// In: the JSON of an object. Out: a payload with the name of its format, for records in the
// Kubernetes API, or the same payload behind a marker byte, for etcd. Reading accepts every format
// that was ever written, whatever the writer is set to, and refuses a payload that would unpack to
// more than MaxSize: a small hostile payload must not fill the memory of the server.
//
// The package knows nothing about the objects inside and never talks to a storage.
package compress

import (
	"fmt"

	"github.com/klauspost/compress/zstd"

	storagev1 "image.alauda.io/api/storage/v1"
)

// MaxSize is the largest JSON, in bytes, that a payload may unpack to. It is far above what the API
// accepts (6 MiB), so that objects written by a later release with a larger limit can still be read.
const MaxSize = 32 << 20

// Compressor turns JSON into payloads and back. It is safe for concurrent use.
type Compressor struct {
	format  storagev1.RecordFormat
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

// New returns a Compressor that writes compressed payloads, or plain ones. It reads both.
func New(compress bool) (*Compressor, error) {
	encoder, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedDefault),
		zstd.WithEncoderConcurrency(2),
		zstd.WithLowerEncoderMem(true),
		zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, fmt.Errorf("zstd encoder: %w", err)
	}
	decoder, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(2),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(MaxSize))
	if err != nil {
		return nil, fmt.Errorf("zstd decoder: %w", err)
	}
	format := storagev1.FormatJSON
	if compress {
		format = storagev1.FormatJSONZstd
	}
	return &Compressor{format: format, encoder: encoder, decoder: decoder}, nil
}

// Format is the format that Pack writes.
func (c *Compressor) Format() storagev1.RecordFormat { return c.format }

// Pack returns the payload of an object.
func (c *Compressor) Pack(json []byte) storagev1.RecordSpec {
	spec := storagev1.RecordSpec{Format: c.format, Size: int64(len(json)), Data: json}
	if c.format == storagev1.FormatJSONZstd {
		spec.Data = c.encoder.EncodeAll(json, make([]byte, 0, len(json)/2))
	}
	return spec
}

// Unpack returns the JSON of a payload. It fails when the format is unknown, the data is damaged, or
// its size is not the recorded one.
func (c *Compressor) Unpack(spec storagev1.RecordSpec) ([]byte, error) {
	if spec.Size < 0 || spec.Size > MaxSize {
		return nil, fmt.Errorf("the recorded size of %d bytes is outside 0 to %d", spec.Size, MaxSize)
	}
	json := spec.Data
	switch spec.Format {
	case storagev1.FormatJSON:
	case storagev1.FormatJSONZstd:
		var err error
		if json, err = c.decompress(spec.Data, int(spec.Size)); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("unknown payload format %q", spec.Format)
	}
	if int64(len(json)) != spec.Size {
		return nil, fmt.Errorf("the payload has %d bytes, %d are recorded", len(json), spec.Size)
	}
	return json, nil
}

// StoredSize is the number of bytes that the JSON of an object takes in the storage.
func (c *Compressor) StoredSize(json []byte) int { return len(c.Pack(json).Data) }

// decompress unpacks zstd data. The decoder itself enforces MaxSize.
func (c *Compressor) decompress(data []byte, sizeHint int) ([]byte, error) {
	json, err := c.decoder.DecodeAll(data, make([]byte, 0, min(sizeHint, MaxSize)))
	if err != nil {
		return nil, fmt.Errorf("unpacking %d bytes of zstd data: %w", len(data), err)
	}
	return json, nil
}
