package gc

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"image.alauda.io/registry/pkg/registry/store"
)

// planRepositories finds repositories that nobody owns any more, and in all others the
// links that nothing needs. What a link that stays names is marked as live: no collection
// leaves a link without its blob.
func (r *run) planRepositories(ctx context.Context) error {
	repositories, err := r.Store.Repositories(ctx)
	if err != nil {
		return err
	}
	r.update(func(report *Report) { report.TotalRepositories = int64(len(repositories)) })
	var mu sync.Mutex
	err = r.each(ctx, len(repositories), func(ctx context.Context, i int) error {
		repository := repositories[i]
		name, served := repository.Name()
		members, exists := r.streams[name]
		if !served || !exists {
			gone, err := r.abandoned(ctx, repository, r.age)
			if gone {
				mu.Lock()
				defer mu.Unlock()
				r.gone = append(r.gone, repository)
			}
			return err
		}
		plan, err := r.planLinks(ctx, name, members)
		if err != nil || plan.empty() {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		r.links = append(r.links, plan)
		return nil
	})
	if err != nil {
		return err
	}
	slices.Sort(r.gone)
	slices.SortFunc(r.links, func(a, b linkPlan) int { return strings.Compare(a.name.String(), b.name.String()) })
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, plan := range r.links {
		r.report.Links += int64(len(plan.manifests) + len(plan.layers))
	}
	r.report.Repositories = int64(len(r.gone))
	for _, repository := range r.gone[:min(len(r.gone), maxListed)] {
		r.report.RepositoryNames = append(r.report.RepositoryNames, string(repository))
	}
	return nil
}

// abandoned tells whether nothing was written in a repository within the grace period.
// Uploads count: a first push uploads its blobs long before its stream is made.
func (r *run) abandoned(ctx context.Context, repository store.Repository, age func(time.Time) time.Duration) (bool, error) {
	newest, err := r.Store.RepositoryTime(ctx, repository)
	if err != nil || newest.IsZero() {
		return false, err
	}
	return age(newest) >= r.options.RepoGrace, nil
}

// age of something by the own clock. The storage's may be behind, so that it decides what is
// planned and not what is removed.
func (r *run) age(at time.Time) time.Duration { return r.options.Now().Sub(at) }
