package usage

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	imagev1 "image.alauda.io/api/image/v1"
)

// Digests of layers without content, which many unrelated images have.
var emptyLayers = map[string]bool{
	"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855": true,
	"sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4": true,
}

// blob is the number of a blob.
type blob uint32

// content is what an image consists of.
type content struct {
	// layers are the distinct layers; top is the last one that is not empty.
	layers []blob
	top    blob
	hasTop bool
	config blob
	// hasConfig is false for indexes and for images that nobody described.
	hasConfig bool
	// described: layers or children are recorded, and so is the manifest.
	described bool
}

// Inventory knows the blobs of all images.
type Inventory struct {
	numbers map[[sha256.Size]byte]blob
	sizes   []int64
	images  map[string]content
}

// NewInventory returns an empty one.
func NewInventory() *Inventory {
	i := &Inventory{}
	i.Add(nil)
	return i
}

// Add takes an image up; nil empties the inventory.
func (i *Inventory) Add(image *imagev1.Image) {
	if image == nil {
		i.numbers, i.sizes, i.images = map[[sha256.Size]byte]blob{}, nil, map[string]content{}
		return
	}
	i.images[image.Name] = i.contentOf(image)
}

func (i *Inventory) contentOf(image *imagev1.Image) content {
	var c content
	total := int64(0)
	seen := map[blob]bool{}
	descending := image.Annotations[imagev1.DockerImageLayersOrderAnnotation] == imagev1.DockerImageLayersOrderDescending
	for _, layer := range image.DockerImageLayers {
		number := i.number(layer.Name, layer.LayerSize)
		if !emptyLayers[layer.Name] && !(descending && c.hasTop) {
			c.top, c.hasTop = number, true
		}
		if !seen[number] {
			seen[number] = true
			c.layers = append(c.layers, number)
			total += max(layer.LayerSize, 0)
		}
	}
	recorded := image.DockerImageManifest != "" || image.Annotations[imagev1.ImageManifestBlobStoredAnnotation] == "true"
	c.described = recorded && len(image.DockerImageLayers)+len(image.DockerImageManifests) > 0
	if len(image.DockerImageManifests) > 0 {
		return c
	}
	// The size of an image is that of its distinct layers and of its config, which has no other record.
	var metadata struct {
		ID   string `json:"Id"`
		Size int64  `json:"Size"`
	}
	if len(image.DockerImageMetadata.Raw) > 0 && json.Unmarshal(image.DockerImageMetadata.Raw, &metadata) != nil {
		return c
	}
	id := image.Annotations[imagev1.ImageConfigDigestAnnotation]
	if id == "" {
		id = metadata.ID
	}
	if id != "" {
		c.config, c.hasConfig = i.number(id, max(metadata.Size-total, 0)), true
	}
	return c
}

// number returns the number of a blob; the greatest size that was said of it counts.
func (i *Inventory) number(digest string, size int64) blob {
	key := keyOf(digest)
	number, known := i.numbers[key]
	if !known {
		number = blob(len(i.sizes))
		i.numbers[key] = number
		i.sizes = append(i.sizes, 0)
	}
	i.sizes[number] = max(i.sizes[number], size)
	return number
}

// keyOf is the digest itself if it is a sha256 one, else a digest of its text.
func keyOf(digest string) (key [sha256.Size]byte) {
	if text, found := strings.CutPrefix(digest, "sha256:"); found && len(text) == 2*sha256.Size {
		if _, err := hex.Decode(key[:], []byte(text)); err == nil {
			return key
		}
	}
	return sha256.Sum256([]byte(digest))
}

// blobSet is a set of blobs.
type blobSet []uint64

func (i *Inventory) newSet() blobSet { return make(blobSet, (len(i.sizes)+63)/64) }

// add enters a blob and tells whether it is new.
func (s blobSet) add(b blob) bool {
	if s.has(b) {
		return false
	}
	s[b/64] |= 1 << (b % 64)
	return true
}

func (s blobSet) has(b blob) bool { return s[b/64]&(1<<(b%64)) != 0 }

// each visits the distinct blobs of an image and of what it contains; layer tells layers from configs.
func (i *Inventory) each(digest string, children func(string) []string, visit func(b blob, layer bool)) {
	queue, seen := []string{digest}, map[string]bool{}
	for len(queue) > 0 {
		next := queue[0]
		queue = queue[1:]
		if seen[next] {
			continue
		}
		seen[next] = true
		c := i.images[next]
		for _, layer := range c.layers {
			visit(layer, true)
		}
		if c.hasConfig {
			visit(c.config, false)
		}
		queue = append(queue, children(next)...)
	}
}
