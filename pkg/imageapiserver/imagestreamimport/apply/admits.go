package apply

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// admits refuses what limits and quotas would refuse in the end, before Images
// are stored: nobody would count what refused imports leave. The write is
// checked again; what else is wrong, it says itself.
func (a *Applier) admits(ctx context.Context, req *Request, items []item) error {
	if !bringsImages(items) {
		return nil
	}
	current, err := a.Streams.Find(ctx, req.Name)
	switch {
	case err == nil:
	case apierrors.IsNotFound(err) && req.Basis == nil:
		current = &imageapi.ImageStream{}
	default:
		return nil
	}
	next := current.DeepCopy()
	next.Namespace, next.Name = req.Namespace, req.Name
	c := change{stream: next, basis: req.Basis, background: req.Background, now: a.now(), limit: a.Streams.MaxTagHistory()}
	c.apply(items)
	return a.Streams.Admits(ctx, next, current)
}

func bringsImages(items []item) bool {
	for i := range items {
		if items[i].Tag != "" && len(items[i].images) > 0 {
			return true
		}
	}
	return false
}
