package execute

import (
	"context"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"image.alauda.io/registry/pkg/pruner/graph"
	"image.alauda.io/registry/pkg/pruner/plan"
	"image.alauda.io/registry/pkg/pruner/references"
	"image.alauda.io/registry/pkg/pruner/report"
)

// Images deletes what decisions do not keep, or with DryRun says so, and returns the lines of a report in
// the order of the decisions. Images that were not reached because ctx ended have no line.
func (e *Executor) Images(ctx context.Context, decisions []plan.Image) []report.Item {
	outcomes := map[string]report.Item{}
	if e.DryRun {
		for _, decision := range decisions {
			if !decision.Kept {
				outcomes[decision.Digest] = imageItem(report.WouldDelete, decision)
			}
		}
	} else {
		e.delete(ctx, decisions, outcomes)
	}
	var items []report.Item
	for _, decision := range decisions {
		if item, reached := outcomes[decision.Digest]; reached {
			items = append(items, item)
		}
	}
	return items
}

// delete goes wave by wave, so that what names an image goes first. Whatever stays keeps what it names.
func (e *Executor) delete(ctx context.Context, decisions []plan.Image, outcomes map[string]report.Item) {
	condemned := map[string]plan.Image{}
	var digests []string
	for _, decision := range decisions {
		if !decision.Kept {
			condemned[decision.Digest] = decision
			digests = append(digests, decision.Digest)
		}
	}
	relations := e.Planner.Graph()
	stays := func(digest string) bool {
		item, reached := outcomes[digest]
		_, planned := condemned[digest]
		return planned && (!reached || item.Action != report.Deleted)
	}
	done := e.counter("images", len(digests))
	var mu sync.Mutex
	waves := relations.Waves(digests)
	place := map[string]int{}
	for i, wave := range waves {
		for _, digest := range wave {
			place[digest] = i
		}
	}
	for i, wave := range waves {
		var ready []string
		for _, digest := range wave {
			blocked := ""
			for _, other := range relations.Before(digest) {
				// In a circle, which only hand-made Images form, one has to be the first.
				if stays(other) && place[other] < i {
					blocked = other
				}
			}
			if blocked == "" {
				ready = append(ready, digest)
				continue
			}
			if ctx.Err() == nil {
				item := imageItem(report.Skipped, condemned[digest])
				item.Reason = "belongs to " + blocked + ", which stays"
				outcomes[digest] = item
			}
		}
		e.each(ctx, len(ready), func(i int) {
			item := e.deleteImage(ctx, condemned[ready[i]], relations)
			mu.Lock()
			outcomes[ready[i]] = item
			mu.Unlock()
			done()
		}, func(int) {})
	}
}

// usedSince returns who uses an image by now, or one that it belongs to: a parent that is used again needs
// its children although it is gone itself, because the registry can make it anew.
func (e *Executor) usedSince(digest string, relations *graph.Graph) (references.Source, bool) {
	seen := map[string]bool{}
	queue := []string{digest}
	for len(queue) > 0 {
		next := queue[0]
		queue = queue[1:]
		if next == "" || seen[next] {
			continue
		}
		seen[next] = true
		if source, _, used := e.Planner.Snapshot.AnyUser(next); used {
			return source, true
		}
		queue = append(append(queue, relations.Parents(next)...), relations.Subject(next))
	}
	return references.Source{}, false
}

// deleteImage deletes exactly the object of the snapshot: whoever took the image up since has changed it.
func (e *Executor) deleteImage(ctx context.Context, image plan.Image, relations *graph.Graph) report.Item {
	if err := e.current(ctx); err != nil {
		item := imageItem(report.Failed, image)
		item.Error = err.Error()
		return item
	}
	if source, used := e.usedSince(image.Digest, relations); used {
		item := imageItem(report.Skipped, image)
		item.Reason = "used since by " + source.String()
		return item
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	uid := types.UID(image.UID)
	err := e.Client.ImageV1().Images().Delete(ctx, image.Digest, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &image.ResourceVersion},
	})
	switch {
	case err == nil, IsGone(err):
		return imageItem(report.Deleted, image)
	case apierrors.IsConflict(err):
		item := imageItem(report.Skipped, image)
		item.Reason = "it was taken up or changed since"
		return item
	}
	item := imageItem(report.Failed, image)
	item.Error = fmt.Errorf("delete: %w", err).Error()
	return item
}

func imageItem(action string, image plan.Image) report.Item {
	return report.Item{Action: action, Kind: report.KindImage, Digest: image.Digest, SizeBytes: image.Size, Reason: image.Reason}
}

// KeptItems are the lines about images that stay.
func KeptItems(decisions []plan.Image) []report.Item {
	var items []report.Item
	for _, decision := range decisions {
		if decision.Kept {
			items = append(items, imageItem(report.Kept, decision))
		}
	}
	return items
}
