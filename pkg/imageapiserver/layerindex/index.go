// Package layerindex keeps a reduced copy of every Image in memory, so that the question what a
// repository may serve is answered without reading the storage.
//
// In: the Image store, listed page by page and watched. Out: layers.Index, records by digest. An
// Image takes about a kilobyte here: its digest strings are shared with all other Images that have
// the same layers.
//
// A digest that is not in the index may belong to an Image that was created a moment ago, by this
// server or another replica: a bounded number of such digests is looked up in the store. Until the
// first list is complete the index answers that it does not know. It never writes anything.
package layerindex

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/layers"
)

const (
	// maxLookups bounds the reads of the store for one request, lookupWorkers how many run at a time.
	maxLookups    = 64
	lookupWorkers = 8
)

// Images is the part of the Image store that the index reads.
type Images interface {
	List(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object, error)
	Watch(ctx context.Context, options *metainternalversion.ListOptions) (watch.Interface, error)
	Find(ctx context.Context, name string) (*imageapi.Image, error)
}

// Index implements layers.Index.
type Index struct {
	images Images
	synced atomic.Bool

	mu      sync.RWMutex
	records map[string]shared
}

var _ layers.Index = (*Index)(nil)

// New returns an index that is filled by Run.
func New(images Images) *Index {
	registerMetrics()
	return &Index{images: images, records: map[string]shared{}}
}

// HasSynced tells that all Images that existed when Run started are known.
func (i *Index) HasSynced() bool { return i.synced.Load() }

// Len is the number of Images in the index.
func (i *Index) Len() int {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return len(i.records)
}

// Records implements layers.Index.
func (i *Index) Records(ctx context.Context, digests []string) (map[string]*layers.Record, error) {
	if !i.HasSynced() {
		return nil, layers.ErrNotSynced
	}
	found := make(map[string]*layers.Record, len(digests))
	var missing []string
	i.mu.RLock()
	for _, digest := range digests {
		if kept, ok := i.records[digest]; ok {
			found[digest] = kept.record
		} else {
			missing = append(missing, digest)
		}
	}
	i.mu.RUnlock()
	if len(missing) == 0 {
		return found, nil
	}
	return found, i.lookUp(ctx, missing[:min(len(missing), maxLookups)], found)
}

// lookUp reads Images that the watch has not brought yet. They are not put into the index: only the
// watch does that, in the order of the storage.
func (i *Index) lookUp(ctx context.Context, digests []string, found map[string]*layers.Record) error {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookupWorkers)
	for _, digest := range digests {
		group.Go(func() error {
			image, err := i.images.Find(ctx, digest)
			if apierrors.IsNotFound(err) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("image %s: %w", digest, err)
			}
			mu.Lock()
			defer mu.Unlock()
			found[digest] = layers.NewRecord(image)
			return nil
		})
	}
	return group.Wait()
}
