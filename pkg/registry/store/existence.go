package store

import (
	"context"

	"image.alauda.io/registry/pkg/registry/route"
)

// HasRepository tells whether anything belongs to a repository.
func (s *Store) HasRepository(ctx context.Context, name route.Name) (bool, error) {
	own, _, err := s.contents(ctx, Repository(name.String()))
	return len(own) > 0, err
}
