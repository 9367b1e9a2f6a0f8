package gc

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"image.alauda.io/registry/pkg/registry/store"

	godigest "github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// countBlobs enumerates everything that is stored.
func (r *run) countBlobs(ctx context.Context) error {
	return r.each(ctx, store.Shards, func(ctx context.Context, shard int) error {
		left, err := r.Store.WalkBlobs(ctx, byte(shard), func(info store.Info) error {
			r.countBlob(info)
			return ctx.Err()
		})
		r.mu.Lock()
		defer r.mu.Unlock()
		r.left = append(r.left, left...)
		return err
	})
}

// tidyLeft removes what writes and removals that were cut off have left beside blobs.
func (r *run) tidyLeft(ctx context.Context) error {
	return r.each(ctx, len(r.left), func(ctx context.Context, i int) error {
		return r.failed(r.Store.TidyDirectory(ctx, r.left[i], r.options.MinAge))
	})
}

func (r *run) countBlob(info store.Info) {
	key, ok := keyOf(info.Digest.String())
	if !ok {
		return
	}
	age := r.options.Now().Sub(info.ModTime)
	r.mu.Lock()
	defer r.mu.Unlock()
	entry := r.digests.at(r.digests.add(key))
	if entry.flags&stored != 0 {
		return // a walk that began again
	}
	entry.size, entry.flags = info.Size, entry.flags|stored
	if age >= r.options.MinAge {
		entry.flags |= old
	}
	r.report.TotalBlobs++
	r.report.TotalBytes += info.Size
}

// planBlobs finds the blobs that nothing names and that no push relied on.
func (r *run) planBlobs(ctx context.Context) error {
	for index := range r.digests.count {
		if r.unused(index) {
			r.blobs = append(r.blobs, index)
		}
	}
	keep := make([]bool, len(r.blobs))
	err := r.each(ctx, len(r.blobs), func(ctx context.Context, i int) error {
		touched, err := r.Store.Touched(ctx, digestOf(r.digests.at(r.blobs[i]).key))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		keep[i] = err == nil && r.options.Now().Sub(touched) < r.options.MinAge
		return err
	})
	if err != nil {
		return err
	}
	kept := r.blobs[:0]
	for i, index := range r.blobs {
		if !keep[i] {
			kept = append(kept, index)
		}
	}
	r.blobs = kept
	slices.SortFunc(r.blobs, func(a, b uint32) int {
		return bytes.Compare(r.digests.at(a).key[:], r.digests.at(b).key[:])
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, index := range r.blobs {
		entry := r.digests.at(index)
		r.report.CandidateCount++
		r.report.CandidateBytes += entry.size
		if i < maxListed {
			r.report.Candidates = append(r.report.Candidates, Candidate{Digest: digestOf(entry.key).String(), Size: entry.size})
		}
	}
	return nil
}

func (r *run) unused(index uint32) bool {
	return r.digests.at(index).flags&(stored|old|live) == stored|old
}

// deleteBlobs hands every blob that is still unused to the delete side of the reuse
// protocol.
func (r *run) deleteBlobs(ctx context.Context) error {
	return r.each(ctx, len(r.blobs), func(ctx context.Context, i int) error {
		index := r.blobs[i]
		if !r.unused(index) {
			return nil // taken up since the first list
		}
		entry := r.digests.at(index)
		r.find(Finding{Kind: FoundBlob, Digest: digestOf(entry.key).String(), Size: entry.size})
		deletion, err := r.Store.DeleteBlob(ctx, digestOf(entry.key), r.options.MinAge)
		r.update(func(report *Report) {
			switch deletion.Outcome {
			case store.Deleted:
				report.DeletedBlobs++
				report.FreedBytes += deletion.FreedBytes
			case store.Refused:
				report.Refused++
			case store.Absent:
			}
		})
		return r.failed(err)
	})
}

// tidyMarkers removes markers that have lost their meaning.
func (r *run) tidyMarkers(ctx context.Context) error {
	if err := r.failed(r.Store.TidyUnfinished(ctx, r.options.MinAge)); err != nil {
		return err
	}
	if err := r.tidyLeft(ctx); err != nil {
		return err
	}
	var keys [][32]byte
	err := r.Store.WalkMarkers(ctx, r.options.MinAge, func(d godigest.Digest) error {
		if key, ok := keyOf(d.String()); ok {
			keys = append(keys, key)
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	return r.each(ctx, len(keys), func(ctx context.Context, i int) error {
		return r.failed(r.Store.TidyMarkers(ctx, digestOf(keys[i]), r.options.MinAge))
	})
}

// failed records a deletion that failed; every other error ends the run.
func (r *run) failed(err error) error {
	var write *store.WriteError
	if !errors.As(err, &write) {
		return err
	}
	r.update(func(report *Report) { report.addError(err) })
	return nil
}

// each calls work for 0 to n-1 in parallel until one of them fails.
func (r *run) each(ctx context.Context, n int, work func(ctx context.Context, i int) error) error {
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(r.options.Workers)
	for i := range n {
		if working.Err() != nil {
			break
		}
		group.Go(func() error {
			if err := working.Err(); err != nil {
				return err
			}
			return work(working, i)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// find tells about an object.
func (r *run) find(finding Finding) {
	if r.options.OnFinding == nil {
		return
	}
	r.finding.Lock()
	defer r.finding.Unlock()
	r.options.OnFinding(finding)
}
