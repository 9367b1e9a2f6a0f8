package layerindex

import (
	"context"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/storage/feed"
)

// Run lists and watches the Images until the context ends.
func (i *Index) Run(ctx context.Context) {
	all := func(image *imageapi.Image) (shared, bool) { return reduce(image), true }
	feed.Run(ctx, i.images, "layer-index", "Image", all, records{i})
}

// records is what the feed fills.
type records struct{ index *Index }

// Put implements feed.Sink. The name is that of the record, whose text all others share.
func (r records) Put(_ string, value shared) {
	r.index.mu.Lock()
	defer r.index.mu.Unlock()
	r.index.records[value.record.Name] = value
	indexedImages.Set(float64(len(r.index.records)))
}

// Delete implements feed.Sink.
func (r records) Delete(name string) {
	r.index.mu.Lock()
	defer r.index.mu.Unlock()
	delete(r.index.records, name)
	indexedImages.Set(float64(len(r.index.records)))
}

// Replace implements feed.Sink.
func (r records) Replace(values map[string]shared) {
	byName := make(map[string]shared, len(values))
	for _, value := range values {
		byName[value.record.Name] = value
	}
	r.index.mu.Lock()
	r.index.records = byName
	r.index.mu.Unlock()
	indexedImages.Set(float64(len(byName)))
	r.index.synced.Store(true)
}
