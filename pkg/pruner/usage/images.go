package usage

import (
	"cmp"
	"slices"
	"strings"

	"image.alauda.io/registry/pkg/pruner/plan"
	"image.alauda.io/registry/pkg/pruner/references"
)

// maxNamed bounds how many parents and users a row names: the base of thousands of images would have a row
// of megabytes. The rest is counted.
const maxNamed = 20

// Place are the tags of one stream that mean an image.
type Place struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Tags      []string `json:"tags"`
}

// Image is a row of `top images`.
type Image struct {
	Digest string `json:"digest"`
	// ImageStreamTags are the tags whose current revision it is.
	ImageStreamTags []Place `json:"imageStreamTags,omitempty"`
	// Parents are images whose top layer it contains; MoreParents counts those that are not named.
	Parents     []string `json:"parents,omitempty"`
	MoreParents int      `json:"moreParents,omitempty"`
	// Usage are the controllers of the Pods that use it, or the Pods; MoreUsage counts those not named.
	Usage     []string `json:"usage,omitempty"`
	MoreUsage int      `json:"moreUsage,omitempty"`
	// Metadata: layers and manifest are recorded.
	Metadata bool `json:"metadata"`
	// Storage is the size of its distinct blobs in bytes, for an index of those of its children.
	Storage int64 `json:"storageBytes"`
}

// Images are the rows of `top images`.
type Images struct {
	planner   *plan.Planner
	inventory *Inventory
	// places are by digest; the order of rows is that of digests.
	places  map[string][]Place
	tops    map[blob][]string
	digests []string
	storage map[string]int64
}

// NewImages prepares the rows of all images, or of those that streams of the namespace name.
func NewImages(planner *plan.Planner, inventory *Inventory, namespace string) *Images {
	rows := &Images{planner: planner, inventory: inventory, places: map[string][]Place{}, tops: map[blob][]string{}, storage: map[string]int64{}}
	named := rows.readStreams(namespace)
	for digest := range planner.Snapshot.Images {
		if content := inventory.images[digest]; content.hasTop {
			rows.tops[content.top] = append(rows.tops[content.top], digest)
		}
		if namespace == "" || named[digest] {
			rows.digests = append(rows.digests, digest)
			rows.storage[digest] = rows.size(digest)
		}
	}
	for _, digests := range rows.tops {
		slices.Sort(digests)
	}
	slices.SortFunc(rows.digests, func(a, b string) int {
		return cmp.Or(
			cmp.Compare(len(rows.places[b]), len(rows.places[a])),
			cmp.Compare(rows.storage[b], rows.storage[a]),
			strings.Compare(a, b),
		)
	})
	return rows
}

// readStreams finds the places of current images and returns every digest that the streams name.
func (rows *Images) readStreams(namespace string) map[string]bool {
	named := map[string]bool{}
	for _, stream := range rows.planner.Snapshot.Streams {
		if namespace != "" && stream.Namespace != namespace {
			continue
		}
		tags := map[string][]string{}
		for _, tag := range stream.Tags {
			for i, revision := range tag.Revisions {
				named[revision.Digest] = true
				if i == 0 {
					tags[revision.Digest] = append(tags[revision.Digest], tag.Name)
				}
			}
		}
		for digest, names := range tags {
			slices.Sort(names)
			rows.places[digest] = append(rows.places[digest], Place{Namespace: stream.Namespace, Name: stream.Name, Tags: names})
		}
	}
	return named
}

func (rows *Images) children(digest string) []string {
	return rows.planner.Snapshot.Images[digest].Children
}

func (rows *Images) size(digest string) int64 {
	total := int64(0)
	seen := map[blob]bool{}
	rows.inventory.each(digest, rows.children, func(b blob, _ bool) {
		if !seen[b] {
			seen[b] = true
			total += rows.inventory.sizes[b]
		}
	})
	return total
}

// Len is the number of rows.
func (rows *Images) Len() int { return len(rows.digests) }

// Row makes one row.
func (rows *Images) Row(i int) Image {
	digest := rows.digests[i]
	row := Image{
		Digest: digest, ImageStreamTags: rows.places[digest],
		Metadata: rows.inventory.images[digest].described, Storage: rows.storage[digest],
	}
	row.Parents, row.MoreParents = rows.parents(digest)
	row.Usage, row.MoreUsage = bounded(rows.usage(digest))
	return row
}

func bounded(all []string) (named []string, more int) {
	if len(all) <= maxNamed {
		return all, 0
	}
	return all[:maxNamed], len(all) - maxNamed
}

// parents names the first images whose top layer this one contains and counts the rest. An image has one
// top layer, so none comes twice.
func (rows *Images) parents(digest string) (named []string, more int) {
	count := 0
	for _, layer := range rows.inventory.images[digest].layers {
		parents := rows.tops[layer]
		count += len(parents)
		if _, self := slices.BinarySearch(parents, digest); self {
			count--
		}
		for _, parent := range parents[:min(len(parents), maxNamed+1)] {
			if parent != digest {
				named = append(named, parent)
			}
		}
	}
	slices.Sort(named)
	named = named[:min(len(named), maxNamed)]
	return named, count - len(named)
}

// usage lists who runs the image: by a tag that means it, or by its digest.
func (rows *Images) usage(digest string) []string {
	uses := rows.planner.Snapshot.Uses
	var origins []references.Origin
	for _, name := range rows.planner.Snapshot.Names(digest) {
		origins = append(origins, uses.AnyDigestOrigins(name)...)
	}
	for _, place := range rows.places[digest] {
		for _, tag := range place.Tags {
			origins = append(origins, uses.TagOrigins(references.Stream{Namespace: place.Namespace, Name: place.Name}, tag)...)
		}
	}
	var users []string
	for _, origin := range origins {
		switch {
		case origin.Kind != "Pod":
		case origin.Owner.Kind != "":
			users = append(users, origin.Owner.String())
		default:
			users = append(users, origin.Source.String())
		}
	}
	slices.Sort(users)
	return slices.Compact(users)
}
