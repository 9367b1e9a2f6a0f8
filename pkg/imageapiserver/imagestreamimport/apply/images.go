package apply

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/history"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/lastref"
)

// parallelWrites is how many Images one request creates at a time.
const parallelWrites = 8

// recorder creates the Images of one request, each once.
type recorder struct {
	*Applier
	dryRun []string
	stamps *lastref.Request
	// kept are the images that the stream names already: as long as it does,
	// the pruner keeps them and what is below.
	kept map[string]bool
	// refused are images that cannot be stored, with the reason.
	refused map[string]error
}

func newRecorder(a *Applier, req *Request) *recorder {
	r := &recorder{Applier: a, dryRun: req.DryRun, stamps: a.Streams.Stamps(req.DryRun), kept: map[string]bool{}, refused: map[string]error{}}
	if req.Basis != nil {
		for _, digest := range history.Digests(req.Basis) {
			r.kept[digest] = true
		}
	}
	return r
}

// forget begins anew: an Image has been removed.
func (r *recorder) forget() {
	r.stamps = r.Streams.Stamps(r.dryRun)
	r.kept = map[string]bool{}
}

// record creates what is new and stamps what exists. An image that cannot be
// stored fails its items only; an error says that the store does not work.
func (r *recorder) record(ctx context.Context, items []item) error {
	for attempt := 1; ; attempt++ {
		err := r.recordOnce(ctx, items)
		var gone *lastref.GoneError
		if !errors.As(err, &gone) {
			return err
		}
		if attempt == attempts {
			return apierrors.NewConflict(imageapi.Resource("images"), gone.Digest, gone)
		}
		r.forget()
	}
}

func (r *recorder) recordOnce(ctx context.Context, items []item) error {
	existing, err := r.create(ctx, items)
	if err != nil {
		return err
	}
	for i := range items {
		if err := r.settle(ctx, &items[i], existing); err != nil {
			return err
		}
	}
	return nil
}

// create makes all Images, those without children first, and returns which
// ones were there already.
func (r *recorder) create(ctx context.Context, items []item) (existing map[string]bool, err error) {
	existing = map[string]bool{}
	var plain, indexes []*imageapi.Image
	seen := map[string]bool{}
	for i := range items {
		if items[i].Tag == "" {
			continue // No stream would name the images.
		}
		for _, image := range items[i].images {
			switch {
			case seen[image.Name]:
			case len(image.DockerImageManifests) == 0:
				plain = append(plain, image)
			default:
				indexes = append(indexes, image)
			}
			seen[image.Name] = true
		}
	}
	var mutex sync.Mutex
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(parallelWrites)
	for _, image := range plain {
		group.Go(func() error { return r.createOne(groupCtx, image, existing, &mutex) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, image := range indexes {
		if err := r.createOne(ctx, image, existing, &mutex); err != nil {
			return nil, err
		}
	}
	return existing, nil
}

func (r *recorder) createOne(ctx context.Context, image *imageapi.Image, existing map[string]bool, mutex *sync.Mutex) error {
	_, err := r.Images.Record(ctx, image, r.dryRun)
	mutex.Lock()
	defer mutex.Unlock()
	switch {
	case err == nil:
		r.stamps.Created(image.Name)
	case apierrors.IsAlreadyExists(err):
		existing[image.Name] = true
	case apierrors.IsInvalid(err), apierrors.IsRequestEntityTooLargeError(err), apierrors.IsBadRequest(err):
		r.refused[image.Name] = err
	default:
		return fmt.Errorf("image %s: %w", image.Name, err)
	}
	return nil
}

// settle stamps the images of an item that were there, or fails the item.
func (r *recorder) settle(ctx context.Context, item *item, existing map[string]bool) error {
	for _, image := range item.images {
		if err := r.refused[image.Name]; err != nil {
			item.fail(metav1.StatusReasonInvalid, http.StatusUnprocessableEntity, err.Error())
			return nil
		}
	}
	if item.Tag == "" || r.kept[item.event.Image] {
		return nil
	}
	var digests []string
	for _, image := range item.images {
		if existing[image.Name] {
			digests = append(digests, image.Name)
		}
	}
	return r.stamps.Stamp(ctx, digests)
}
