package gc

import (
	"context"
	"errors"
	"sync/atomic"

	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
)

// findAll tells about everything that a real run would remove.
func (r *run) findAll() {
	for _, repository := range r.gone {
		r.find(Finding{Kind: FoundRepository, Repository: repository})
	}
	for _, plan := range r.links {
		for _, l := range plan.manifests {
			r.find(plan.finding(FoundManifestLink, l))
		}
		for _, l := range plan.layers {
			r.find(plan.finding(FoundLayerLink, l))
		}
	}
	for _, index := range r.blobs {
		entry := r.digests.at(index)
		r.find(Finding{Kind: FoundBlob, Digest: digestOf(entry.key).String(), Size: entry.size})
	}
}

func (p linkPlan) finding(kind Kind, l link) Finding {
	return Finding{Kind: kind, Repository: store.Repository(p.name.String()), Digest: l.named.String()}
}

// removeLinks removes repositories and links, each after another look at its age. It tells
// whether anything was removed.
func (r *run) removeLinks(ctx context.Context) (bool, error) {
	var removed atomic.Bool
	err := r.each(ctx, len(r.gone), func(ctx context.Context, i int) error {
		still, err := r.abandoned(ctx, r.gone[i])
		if err != nil || !still {
			return err
		}
		r.find(Finding{Kind: FoundRepository, Repository: r.gone[i]})
		if err := ctx.Err(); err != nil {
			return err
		}
		removed.Store(true)
		if err := r.Store.RemoveRepository(ctx, r.gone[i]); err != nil {
			return r.failed(err)
		}
		r.update(func(report *Report) { report.DeletedRepositories++ })
		return nil
	})
	if err != nil {
		return false, err
	}
	err = r.each(ctx, len(r.links), func(ctx context.Context, i int) error {
		removed.Store(true)
		return r.removePlan(ctx, r.links[i])
	})
	return removed.Load(), err
}

// removePlan removes the links of one repository, those of manifests before those of
// layers.
func (r *run) removePlan(ctx context.Context, plan linkPlan) error {
	removed := map[digest.Digest]bool{}
	for _, l := range plan.manifests {
		gone, err := r.removeLink(ctx, plan, FoundManifestLink, store.Revisions, l)
		if err != nil {
			return err
		}
		if gone {
			removed[l.canonical] = true
		}
	}
	if err := r.removeReferrers(ctx, plan, removed); err != nil {
		return err
	}
	for _, l := range plan.layers {
		if _, err := r.removeLink(ctx, plan, FoundLayerLink, store.Layers, l); err != nil {
			return err
		}
	}
	return nil
}

// removeLink removes a link unless it was written again meanwhile. An alias needs no
// other treatment: it names the same content, so it is in the plan as well.
func (r *run) removeLink(ctx context.Context, plan linkPlan, kind Kind, set store.Links, l link) (bool, error) {
	young, err := r.youngLink(ctx, plan.name, set, l.named)
	if err != nil || young {
		return false, err
	}
	r.find(plan.finding(kind, l))
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := r.Store.RemoveLink(ctx, plan.name, set, l.named); err != nil {
		return false, r.failed(&store.WriteError{Err: err})
	}
	r.update(func(report *Report) { report.DeletedLinks++ })
	return true, nil
}

// removeReferrers removes the entries of manifests that were unlinked. One whose
// manifest has another link left, by another algorithm, stays.
func (r *run) removeReferrers(ctx context.Context, plan linkPlan, removed map[digest.Digest]bool) error {
	if len(removed) == 0 {
		return nil
	}
	referrers, err := r.Store.ReferrerLinks(ctx, plan.name)
	if err != nil {
		return err
	}
	for _, referrer := range referrers {
		if !removed[referrer.Canonical] {
			continue
		}
		_, err := r.Store.LinkTime(ctx, plan.name, store.Revisions, referrer.Canonical)
		if err == nil {
			continue
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.Store.RemoveReferrer(ctx, plan.name, referrer.Subject, referrer.Digest); err != nil {
			if err := r.failed(&store.WriteError{Err: err}); err != nil {
				return err
			}
		}
	}
	return nil
}
