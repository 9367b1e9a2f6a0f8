package store

import (
	"context"
	"errors"
	"sync/atomic"

	"image.alauda.io/registry/pkg/registry/route"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// parallelLinks is how many links of one push are written at the same time.
const parallelLinks = 8

// NewLink is a link that a push writes.
type NewLink struct {
	Set Links
	// Digest is what the link is for, Canonical what it names.
	Digest, Canonical digest.Digest
	// Subject makes it the entry of a referrer at its subject, which belongs to no set.
	Subject digest.Digest
}

func (l NewLink) path(name route.Name) string {
	if l.Subject != "" {
		return referrerDirectory(name, l.Subject, l.Digest) + "/link"
	}
	return linkPath(name, l.Set, l.Digest)
}

// WriteLinks writes links of a repository, also those that are there: their time protects the
// content from being cleaned up. It returns when they are safe from everybody who found them
// old before.
func (s *Store) WriteLinks(ctx context.Context, name route.Name, links []NewLink) error {
	if err := s.putLinks(ctx, name, links); err != nil {
		return err
	}
	return s.secureLinks(ctx, name, links)
}

// secureLinks makes sure of links that were written a moment ago. Whoever removes one of them
// after having found it old has announced that before it was written: either he is seen here,
// or he has ended and the link is gone. A removal that is announced later finds it young.
func (s *Store) secureLinks(ctx context.Context, name route.Name, links []NewLink) error {
	removing, err := s.awaitUnlinking(ctx, name)
	if err != nil {
		return err
	}
	if !removing {
		if complete, err := s.linksAreThere(ctx, name, links); err != nil || complete {
			return err
		}
	}
	return s.putLinks(ctx, name, links)
}

func (s *Store) putLinks(ctx context.Context, name route.Name, links []NewLink) error {
	return eachLink(ctx, links, func(ctx context.Context, link NewLink) error {
		return s.put(ctx, link.path(name), []byte(link.Canonical))
	})
}

func (s *Store) linksAreThere(ctx context.Context, name route.Name, links []NewLink) (bool, error) {
	var missing atomic.Bool
	err := eachLink(ctx, links, func(ctx context.Context, link NewLink) error {
		_, err := s.stat(ctx, link.path(name))
		if errors.Is(err, ErrNotFound) {
			missing.Store(true)
			return nil
		}
		return err
	})
	return !missing.Load(), err
}

func eachLink(ctx context.Context, links []NewLink, do func(context.Context, NewLink) error) error {
	if len(links) == 1 {
		return do(ctx, links[0])
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelLinks)
	for _, link := range links {
		group.Go(func() error { return do(ctx, link) })
	}
	return group.Wait()
}
