package compress

import (
	"context"
	"fmt"

	"k8s.io/apiserver/pkg/storage/value"

	storagev1 "image.alauda.io/api/storage/v1"
)

// zstdMarker is the first byte of a compressed value in etcd. JSON never starts with it.
const zstdMarker = 0x01

// Transformer returns the transformer for values in etcd: it compresses before next writes, and
// unpacks what next has read. Values without marker are taken as they are, so that compression can be
// switched on and off over existing data. Next is usually encryption at rest; nil does nothing.
func (c *Compressor) Transformer(next value.Transformer) value.Transformer {
	return transformer{compressor: c, next: next}
}

type transformer struct {
	compressor *Compressor
	next       value.Transformer
}

func (t transformer) TransformToStorage(ctx context.Context, data []byte, dataCtx value.Context) ([]byte, error) {
	if len(data) > MaxSize {
		// Compressed it might fit, and nobody could read it again.
		return nil, fmt.Errorf("the object has %d bytes, at most %d can be stored", len(data), MaxSize)
	}
	if t.compressor.format == storagev1.FormatJSONZstd {
		out := make([]byte, 1, len(data)/2+1)
		out[0] = zstdMarker
		data = t.compressor.encoder.EncodeAll(data, out)
	}
	if t.next == nil {
		return data, nil
	}
	return t.next.TransformToStorage(ctx, data, dataCtx)
}

func (t transformer) TransformFromStorage(ctx context.Context, data []byte, dataCtx value.Context) ([]byte, bool, error) {
	stale := false
	if t.next != nil {
		var err error
		if data, stale, err = t.next.TransformFromStorage(ctx, data, dataCtx); err != nil {
			return nil, false, err
		}
	}
	if len(data) == 0 || data[0] != zstdMarker {
		return data, stale, nil
	}
	json, err := t.compressor.decompress(data[1:], 0)
	if err != nil {
		return nil, false, fmt.Errorf("value in etcd: %w", err)
	}
	return json, stale, nil
}
