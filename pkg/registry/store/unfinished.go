package store

import (
	"context"
	"strings"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
)

// unfinished is how the file system's driver names what it has not yet put in place.
const unfinished = ".tmp"

// TidyUnfinished removes what processes that died in the middle of a write have left among
// the markers, once it is older than minAge: no other write puts it in place or takes it away.
func (s *Store) TidyUnfinished(ctx context.Context, minAge time.Duration) error {
	var left []string
	now := s.options.Now()
	err := s.walk(ctx, markers, func(info driver.FileInfo) error {
		if !info.IsDir() && strings.HasSuffix(info.Path(), unfinished) && now.Sub(info.ModTime()) >= max(minAge, deletingAge) {
			left = append(left, info.Path())
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	for _, path := range left {
		if err := s.remove(ctx, path); err != nil {
			return &WriteError{err}
		}
	}
	return nil
}
