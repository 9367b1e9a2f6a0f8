package limitrange

import (
	"context"
	"math"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/layers"
)

// maxDepth ends the descent into indexes of indexes; pushes refuse deeper ones.
const maxDepth = 8

// size is what counts of an image: the larger of what was sent and what is
// known under its digest.
func (p *Plugin) size(ctx context.Context, sent *imageapi.Image) (int64, error) {
	largest := int64(0)
	if len(sent.DockerImageManifests) == 0 {
		largest = sent.DockerImageMetadata.Size
	}
	digests := []string{sent.Name}
	for _, child := range sent.DockerImageManifests {
		digests = append(digests, child.Digest)
	}
	seen := map[string]bool{}
	for depth := 0; depth <= maxDepth && len(digests) > 0; depth++ {
		records, err := p.index.Records(ctx, digests)
		if err != nil {
			return 0, err
		}
		var below []string
		for _, digest := range digests {
			seen[digest] = true
			record := records[digest]
			if record == nil {
				continue
			}
			largest = max(largest, sizeOf(record))
			for _, child := range record.Children {
				if !seen[child] {
					seen[child] = true
					below = append(below, child)
				}
			}
		}
		digests = below
	}
	return largest, nil
}

// sizeOf is the size of one known image, nothing for an index.
func sizeOf(record *layers.Record) int64 {
	if len(record.Children) > 0 {
		return 0
	}
	total := int64(0)
	counted := map[string]bool{}
	add := func(digest string, size int64) {
		if counted[digest] || size <= 0 {
			return
		}
		counted[digest] = true
		if total > math.MaxInt64-size {
			total = math.MaxInt64
			return
		}
		total += size
	}
	if record.ConfigSize != nil {
		add(record.ConfigID, *record.ConfigSize)
	}
	for _, layer := range record.Layers {
		add(layer.Name, layer.LayerSize)
	}
	return total
}
