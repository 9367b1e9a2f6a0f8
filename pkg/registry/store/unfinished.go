package store

import (
	"context"
	"path"
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

const (
	// held begins the name under which NFS keeps a file that was removed while it was read. It
	// goes with the reader, unless his host was lost.
	held = ".nfs"
	// heldAge is longer than any reader needs.
	heldAge = 24 * time.Hour
)

// TidyDirectory removes what a crash or a removal has left in the directory of a blob or a link,
// once the directory has not changed for minAge, and the directory if it is empty then. What is
// in use stays, and nothing that a push puts there at this moment is lost. The error is a
// *WriteError if a removal failed. On a storage without directories there is nothing to do.
func (s *Store) TidyDirectory(ctx context.Context, directory string, minAge time.Duration) error {
	if s.directories == nil {
		return nil
	}
	info, err := s.driver.Stat(ctx, directory)
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return &Error{"stat " + directory, err}
	}
	age := s.options.Now().Sub(info.ModTime())
	if age < max(minAge, deletingAge) {
		return nil
	}
	entries, err := s.list(ctx, directory)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry, unfinished) && (!strings.HasPrefix(path.Base(entry), held) || age < heldAge) {
			continue
		}
		if err := s.remove(ctx, entry); err != nil && !isWrittenAgain(err) {
			return &WriteError{err}
		}
	}
	if err := s.removeEmpty(ctx, directory); err != nil {
		return &WriteError{err}
	}
	return nil
}
