package gc

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

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

// announced is how many links of a repository are removed under one announcement. A push into
// the repository waits for its end.
const announced = 32

// removeLinks removes repositories and links, each after another look at its age. It tells
// whether anything was removed.
func (r *run) removeLinks(ctx context.Context) (bool, error) {
	var removed atomic.Bool
	err := r.each(ctx, len(r.gone), func(ctx context.Context, i int) error {
		return r.failed(r.removeRepository(ctx, r.gone[i], &removed))
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

// removeRepository removes a repository if nothing was written to it meanwhile. One with a
// name that is not served needs no announcement: nobody pushes there.
func (r *run) removeRepository(ctx context.Context, repository store.Repository, removed *atomic.Bool) error {
	remove := func(age func(time.Time) time.Duration, remove func(context.Context) error) error {
		still, err := r.abandoned(ctx, repository, age)
		if err != nil || !still {
			return err
		}
		r.find(Finding{Kind: FoundRepository, Repository: repository})
		if err := ctx.Err(); err != nil {
			return err
		}
		removed.Store(true)
		if err := remove(ctx); err != nil {
			return err
		}
		r.update(func(report *Report) { report.DeletedRepositories++ })
		return nil
	}
	name, served := repository.Name()
	if !served {
		return remove(r.age, func(ctx context.Context) error { return r.Store.RemoveRepository(ctx, repository) })
	}
	return r.Store.Unlink(ctx, name, func(u *store.Unlinking) error { return remove(u.Age, u.RemoveRepository) })
}

// removePlan removes the links of one repository, those of manifests before those of
// layers.
func (r *run) removePlan(ctx context.Context, plan linkPlan) error {
	var referrers []store.ReferrerLink
	if len(plan.manifests) > 0 {
		var err error
		if referrers, err = r.Store.ReferrerLinks(ctx, plan.name); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(plan.manifests, announced) {
		err := r.Store.Unlink(ctx, plan.name, func(u *store.Unlinking) error {
			return r.removeManifests(ctx, u, linkPlan{name: plan.name, manifests: some}, referrers)
		})
		if err := r.failed(err); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(plan.layers, announced) {
		err := r.Store.Unlink(ctx, plan.name, func(u *store.Unlinking) error {
			for _, l := range some {
				if _, err := r.removeLink(ctx, u, plan, FoundLayerLink, store.Layers, l); err != nil {
					return err
				}
			}
			return nil
		})
		if err := r.failed(err); err != nil {
			return err
		}
	}
	return nil
}

// removeManifests removes links of manifests, and their entries at their subjects.
func (r *run) removeManifests(ctx context.Context, u *store.Unlinking, plan linkPlan, referrers []store.ReferrerLink) error {
	removed := map[digest.Digest]bool{}
	for _, l := range plan.manifests {
		gone, err := r.removeLink(ctx, u, plan, FoundManifestLink, store.Revisions, l)
		if err != nil {
			return err
		}
		if gone {
			removed[l.canonical] = true
		}
	}
	return r.removeReferrers(ctx, u, plan, removed, referrers)
}

// removeLink removes a link unless it was written again meanwhile; then what it names is in
// use. An alias needs no other treatment: it names the same content, so it is in the plan as
// well.
func (r *run) removeLink(ctx context.Context, u *store.Unlinking, plan linkPlan, kind Kind, set store.Links, l link) (bool, error) {
	age, err := u.LinkAge(ctx, set, l.named)
	if errors.Is(err, store.ErrNotFound) {
		return false, r.failed(u.TidyLink(ctx, set, l.named, r.options.MinAge))
	}
	if err != nil {
		return false, err
	}
	if age < r.options.MinAge {
		if set == store.Revisions {
			r.markManifest(l.canonical.String())
		}
		r.markBlob(l.canonical.String())
		return false, nil
	}
	r.find(plan.finding(kind, l))
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := u.RemoveLink(ctx, set, l.named); err != nil {
		return false, r.failed(err)
	}
	r.update(func(report *Report) { report.DeletedLinks++ })
	return true, nil
}

// removeReferrers removes the entries of manifests that were unlinked. One whose
// manifest has another link left, by another algorithm, stays.
func (r *run) removeReferrers(ctx context.Context, u *store.Unlinking, plan linkPlan, removed map[digest.Digest]bool, referrers []store.ReferrerLink) error {
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
		if err := r.failed(u.RemoveReferrer(ctx, referrer.Subject, referrer.Digest)); err != nil {
			return err
		}
	}
	return nil
}
