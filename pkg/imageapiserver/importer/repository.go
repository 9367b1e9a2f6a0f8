package importer

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image.alauda.io/api/image/reference"
)

// repository lists the tags of a repository and looks up the most important ones.
func (s *session) repository(ctx context.Context, p *plan, item *RepositoryItem) *RepositoryResult {
	written, failure := repositoryReference(item.From)
	if failure != nil {
		return &RepositoryResult{Err: failure}
	}
	names, err := s.list(ctx, p, written, item.Policy)
	if err != nil {
		return unlisted(ctx, FromRemote(err))
	}
	tags := importable(names)
	limit := min(len(tags), tagLimit(item.Limit, p.settings.MaxTags))

	var orders []*order
	var units []*unit
	for _, tag := range tags[:limit] {
		o, isNew := p.tag(written, item, tag)
		orders = append(orders, o)
		if isNew {
			units = append(units, o.unit)
		}
	}
	result := &RepositoryResult{}
	for _, tag := range tags[limit:] {
		if o := p.foundTag(written, item, tag); o != nil {
			orders = append(orders, o)
			continue
		}
		result.AdditionalTags = append(result.AdditionalTags, tag)
	}
	s.runAll(ctx, units)
	result.Tags = s.results(orders, false)
	return result
}

func repositoryReference(from string) (reference.DockerImageReference, *Error) {
	written, err := reference.Parse(from)
	switch {
	case err != nil:
		return written, invalid("%q is not the name of a repository: %v", shorten(from), err)
	case written.Name == "":
		return written, invalid("%q names a registry and no repository", shorten(from))
	case written.Tag != "" || written.ID != "":
		return written, invalid("%q names an image and no repository", shorten(from))
	}
	return written, nil
}

// list reads the tags, with the client that the tags are looked up with afterwards.
func (s *session) list(ctx context.Context, p *plan, written reference.DockerImageReference, policy Policy) ([]string, error) {
	ref := written.DockerClientDefaults()
	key := p.repository(ref, policy)
	repository, err := s.open(key, ref)
	if err != nil {
		return nil, err
	}
	itemCtx, cancel := s.withItemTimeout(ctx)
	defer cancel()
	var names []string
	err = s.ask(itemCtx, key.host, func() (err error) {
		names, err = repository.Tags(itemCtx, MaxTagNames)
		return err
	})
	return names, err
}

func unlisted(ctx context.Context, failure *Error) *RepositoryResult {
	result := &RepositoryResult{Err: failure}
	if failure.Reason == metav1.StatusReasonTimeout && ctx.Err() != nil {
		result.Err, result.Unfinished = timeout("not finished within the time of the request"), true
	}
	return result
}

// importable drops names that cannot be tags, which would be pull specs of something else,
// and sorts the others.
func importable(names []string) []string {
	valid := make([]string, 0, min(len(names), MaxTagNames))
	for _, name := range names[:min(len(names), MaxTagNames)] {
		if name == "" || reference.ValidateTag(name) == nil {
			valid = append(valid, name)
		}
	}
	return prioritise(valid)
}

// tagLimit is the number of tags to look up: what is asked for, else what is configured,
// within what is allowed.
func tagLimit(asked, configured int) int {
	limit := asked
	if limit == 0 {
		limit = configured
	}
	if limit < 0 || limit > MaxTagsPerRepository {
		return MaxTagsPerRepository
	}
	return limit
}

// tag adds one tag of the repository.
func (p *plan) tag(written reference.DockerImageReference, item *RepositoryItem, tag string) (*order, bool) {
	written.Tag = tag
	return p.add(written, item.tagPolicy(tag), item.LastDigests[tag])
}

// foundTag returns a tag beyond the limit that was looked up for an item anyway.
func (p *plan) foundTag(written reference.DockerImageReference, item *RepositoryItem, tag string) *order {
	written.Tag = tag
	policy := item.tagPolicy(tag)
	u := p.found(p.key(written.DockerClientDefaults(), policy))
	if u == nil {
		return nil
	}
	return &order{written: written, raw: policy.IncludeManifest && u.raw, unit: u}
}

func (r *RepositoryItem) tagPolicy(tag string) Policy {
	policy := r.Policy
	if platform, found := r.Platforms[tag]; found {
		policy.Platform = platform.or(policy.Platform)
	}
	return policy
}
