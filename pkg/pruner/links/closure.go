package links

import (
	"encoding/json"
	"regexp"
	"slices"

	imagev1 "image.alauda.io/api/image/v1"
)

// Change is what pruning did to a stream.
type Change struct {
	Namespace, Name string
	// Removed are the images of the revisions that went, Listed those that the stream names afterwards.
	Removed, Listed []string
}

// Repository returns "namespace/name".
func (c Change) Repository() string { return c.Namespace + "/" + c.Name }

// manifests returns the images that the stream leads to no more, and those that it leads to. keep extends a
// set by children and referrers.
func (c Change) manifests(keep func(map[string]string)) (gone []string, stay map[string]string) {
	before, stay := map[string]string{}, map[string]string{}
	for _, digest := range c.Listed {
		before[digest], stay[digest] = "", ""
	}
	for _, digest := range c.Removed {
		before[digest] = ""
	}
	keep(before)
	keep(stay)
	for digest := range before {
		if _, stays := stay[digest]; !stays && canonical.MatchString(digest) {
			gone = append(gone, digest)
		}
	}
	slices.Sort(gone)
	return gone, stay
}

// canonical digests are what the registry keeps links of, and what can stand in a path.
var canonical = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// blobsGone returns the blobs of the images that go, without those that something needs which stays.
func blobsGone(gone map[string][]string, needed map[string]bool) []string {
	var blobs []string
	for _, names := range gone {
		for _, name := range names {
			if !needed[name] && canonical.MatchString(name) {
				blobs = append(blobs, name)
			}
		}
	}
	slices.Sort(blobs)
	return slices.Compact(blobs)
}

// blobsOf lists layers and config of an Image; an index has neither.
func blobsOf(image *imagev1.Image) []string {
	var blobs []string
	for _, layer := range image.DockerImageLayers {
		blobs = append(blobs, layer.Name)
	}
	config := image.Annotations[imagev1.ImageConfigDigestAnnotation]
	if config == "" && len(image.DockerImageManifests) == 0 {
		var metadata struct {
			ID string `json:"Id"`
		}
		if json.Unmarshal(image.DockerImageMetadata.Raw, &metadata) == nil {
			config = metadata.ID
		}
	}
	if config != "" {
		blobs = append(blobs, config)
	}
	return blobs
}

// blobsIn lists layers and config of an image as its stream describes it.
func blobsIn(references imagev1.ImageBlobReferences) []string {
	blobs := slices.Clone(references.Layers)
	if references.Config != nil {
		blobs = append(blobs, *references.Config)
	}
	return blobs
}
