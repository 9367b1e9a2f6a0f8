package transfer

import (
	"bytes"
	"context"
	"errors"

	"k8s.io/apiserver/pkg/storage/value"
)

// damageMarker is the first byte of a value that stands for one that could not be read. JSON never
// starts with it.
const damageMarker = 0x00

// reportDamage wraps the transformer of an etcd store: the library ends a list at the first value that
// cannot be read, and does not say which ones follow. With it, such a value becomes a report.
type reportDamage struct{ value.Transformer }

// TransformFromStorage implements value.Transformer.
func (r reportDamage) TransformFromStorage(ctx context.Context, data []byte, dataCtx value.Context) ([]byte, bool, error) {
	out, stale, err := r.Transformer.TransformFromStorage(ctx, data, dataCtx)
	if ctx.Err() != nil {
		return nil, false, ctx.Err()
	}
	if err == nil {
		_, err = parse(out)
	}
	if err != nil {
		report := append([]byte{damageMarker}, dataCtx.AuthenticatedData()...)
		return append(append(report, damageMarker), err.Error()...), false, nil
	}
	return out, stale, nil
}

// damageIn takes a report apart.
func damageIn(data []byte) (key string, damage error, found bool) {
	if len(data) == 0 || data[0] != damageMarker {
		return "", nil, false
	}
	name, text, _ := bytes.Cut(data[1:], []byte{damageMarker})
	return string(name), errors.New(string(text)), true
}
