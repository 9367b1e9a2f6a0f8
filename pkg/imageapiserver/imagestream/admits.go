package imagestream

import (
	"context"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// Admits refuses what limits and quotas would not let old, which the caller has
// read, become. It is for writers that store something else before the stream:
// who is refused must not fill the storage. The write is checked again.
func (r *REST) Admits(ctx context.Context, stream, old *imageapi.ImageStream) error {
	if r.gate.quota == nil {
		return nil
	}
	return r.gate.refusal(ctx, stream.Name, r.gate.quota.Check(ctx, stream, old))
}
