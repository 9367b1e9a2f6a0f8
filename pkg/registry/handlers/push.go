package handlers

import (
	"context"
	"errors"
	"sync"

	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// push is one manifest on its way into the repository.
type push struct {
	*Handlers
	req      *request
	manifest *manifest.Manifest
	tags     []string

	mu sync.Mutex
	// canonical maps every digest that the manifest names to the stored one.
	canonical map[digest.Digest]digest.Digest
	// asked are the blobs that sources were asked for.
	asked map[digest.Digest]bool
	// visited is what was looked at below the children of an index.
	visited map[digest.Digest]bool
	// blobs and children are the named digests that are readable here.
	blobs, children []digest.Digest
}

func (p *push) run(ctx context.Context) error {
	p.canonical, p.asked = map[digest.Digest]digest.Digest{}, map[digest.Digest]bool{}
	if err := p.checkForeign(); err != nil {
		return err
	}
	if err := p.checkReferences(ctx); err != nil {
		return err
	}
	if err := p.findSubject(ctx); err != nil {
		return err
	}
	if err := p.checkLimits(ctx); err != nil {
		return err
	}
	if err := p.Store.PutManifest(ctx, p.manifest.Raw, p.manifest.Digest); err != nil {
		return err
	}
	if err := p.record(ctx); err != nil {
		return err
	}
	return p.link(ctx)
}

// findSubject looks for the canonical digest of a subject that is named by another
// algorithm: the image API knows no other, and a prune that does not find the subject takes
// the referrer away.
func (p *push) findSubject(ctx context.Context) error {
	subject := p.manifest.Subject
	if subject == nil || subject.Digest.Algorithm() == digest.SHA256 {
		return nil
	}
	canonical, err := p.Store.Link(ctx, p.req.route.Name, store.Revisions, subject.Digest)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	p.canonical[subject.Digest] = canonical
	return nil
}

// link makes the manifest and what it names readable in the repository. Links that are
// there are written again: their time protects them from being cleaned up.
func (p *push) link(ctx context.Context) error {
	name, own := p.req.route.Name, p.manifest.Digest
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelChecks)
	var links []store.NewLink
	put := func(set store.Links, named, canonical digest.Digest) {
		links = append(links, newLinks(set, named, canonical)...)
	}
	requested := own
	if p.req.route.Digest != "" {
		requested = p.req.route.Digest
	}
	put(store.Revisions, requested, own)
	for _, blob := range p.blobs {
		put(store.Layers, blob, p.canonical[blob])
	}
	for _, child := range p.children {
		put(store.Revisions, child, p.canonical[child])
	}
	for _, tag := range p.tags {
		group.Go(func() error { return p.Store.PutTagHint(ctx, name, tag, own) })
		if requested != own {
			group.Go(func() error { return p.Store.PutTagAlias(ctx, name, tag, requested, own) })
		}
	}
	if subject := p.manifest.Subject; subject != nil {
		links = append(links, store.NewLink{Subject: subject.Digest, Digest: requested, Canonical: own})
	}
	group.Go(func() error { return p.Store.WriteLinks(ctx, name, links) })
	return group.Wait()
}

// newLinks are the link of a digest and, if that is not the canonical one, of this one too.
func newLinks(set store.Links, named, canonical digest.Digest) (links []store.NewLink) {
	for _, d := range distinct(named, canonical) {
		links = append(links, store.NewLink{Set: set, Digest: d, Canonical: canonical})
	}
	return links
}
