package usage

import (
	"cmp"
	"slices"
	"strings"

	"image.alauda.io/registry/pkg/pruner/plan"
	"image.alauda.io/registry/pkg/pruner/snapshot"
)

// Stream is a row of `top imagestreams`.
type Stream struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Storage is the size in bytes of the distinct blobs of its current images, children of indexes
	// included.
	Storage int64 `json:"storageBytes"`
	// Images counts the distinct current images, Layers their distinct layers.
	Images int `json:"images"`
	Layers int `json:"layers"`
	// Revisions counts all entries of the history of its tags.
	Revisions int `json:"revisions"`
	// HistoryStorage is what older revisions hold besides. Reclaimable is what of the stream no image needs
	// after a prune, here or elsewhere.
	HistoryStorage int64 `json:"historyStorageBytes"`
	Reclaimable    int64 `json:"reclaimableBytes"`
}

// Streams returns the rows of `top imagestreams` in order. What is reclaimable is decided by the planner.
func Streams(planner *plan.Planner, inventory *Inventory, namespace string) []Stream {
	t := &tally{planner: planner, inventory: inventory, live: inventory.newSet()}
	t.findLive()
	var rows []Stream
	for _, stream := range planner.Snapshot.Streams {
		if namespace == "" || stream.Namespace == namespace {
			rows = append(rows, t.row(stream))
		}
	}
	slices.SortFunc(rows, func(a, b Stream) int {
		return cmp.Or(
			cmp.Compare(b.Storage, a.Storage),
			cmp.Compare(b.Images, a.Images),
			strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name),
		)
	})
	return rows
}

type tally struct {
	planner   *plan.Planner
	inventory *Inventory
	// live are the blobs that images need which a prune leaves.
	live blobSet
}

func (t *tally) children(digest string) []string { return t.planner.Snapshot.Images[digest].Children }

func (t *tally) findLive() {
	listed := map[string]string{}
	for _, stream := range t.planner.Snapshot.Streams {
		plan.Listed(t.planner.Stream(stream), listed, stream.Key())
	}
	for _, decision := range t.planner.Images(listed) {
		if decision.Kept {
			t.inventory.each(decision.Digest, t.children, func(b blob, _ bool) { t.live.add(b) })
		}
	}
}

func (t *tally) row(stream snapshot.Stream) Stream {
	row := Stream{Namespace: stream.Namespace, Name: stream.Name}
	seen := map[blob]bool{}
	images := map[string]bool{}
	count := func(digest string, storage *int64, layers *int) {
		if digest == "" || images[digest] {
			return
		}
		images[digest] = true
		t.inventory.each(digest, t.children, func(b blob, layer bool) {
			if seen[b] {
				return
			}
			seen[b] = true
			*storage += t.inventory.sizes[b]
			if layer {
				*layers++
			}
			if !t.live.has(b) {
				row.Reclaimable += t.inventory.sizes[b]
			}
		})
	}
	for _, tag := range stream.Tags {
		row.Revisions += len(tag.Revisions)
		if len(tag.Revisions) > 0 {
			count(tag.Revisions[0].Digest, &row.Storage, &row.Layers)
		}
	}
	row.Images = len(images)
	older := 0
	for _, tag := range stream.Tags {
		for _, revision := range tag.Revisions {
			count(revision.Digest, &row.HistoryStorage, &older)
		}
	}
	return row
}
