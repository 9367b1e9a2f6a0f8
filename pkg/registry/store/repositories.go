package store

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"time"

	"image.alauda.io/registry/pkg/registry/route"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/google/uuid"
)

// Repository is the path of a repository in the storage. Not every one is a name that
// this registry serves: stock registries have names of one part or of many.
type Repository string

// Name returns the name under which this registry serves the repository.
func (r Repository) Name() (route.Name, bool) {
	name, err := route.ParseName(string(r), "")
	return name, err == nil
}

func (r Repository) path() string { return path.Join(repositories, string(r)) }

// Repositories lists all repositories, sorted. A directory is one when it holds anything
// whose name begins with "_", as all data of a repository does and no part of a name.
func (s *Store) Repositories(ctx context.Context) ([]Repository, error) {
	var found []Repository
	err := Inventory{Store: s}.walk(ctx, "", maxDepth, func(r Repository, _ []string) error {
		found = append(found, r)
		return nil
	})
	slices.Sort(found)
	return found, err
}

// contents lists what belongs to the repository itself, and what is below it.
func (s *Store) contents(ctx context.Context, r Repository) (own, nested []string, err error) {
	entries, err := s.list(ctx, r.path())
	own, nested = split(entries)
	return own, nested, err
}

// split tells the data of a repository from the directories of others below it.
func split(entries []string) (own, nested []string) {
	for _, entry := range entries {
		if strings.HasPrefix(path.Base(entry), "_") {
			own = append(own, entry)
		} else {
			nested = append(nested, entry)
		}
	}
	return own, nested
}

// RepositoryTime returns when anything was last written in the repository: a link, a hint
// or a chunk of an upload. Without any file it is the time of the newest directory, or
// zero on storage that has none.
func (s *Store) RepositoryTime(ctx context.Context, r Repository) (time.Time, error) {
	own, _, err := s.contents(ctx, r)
	if err != nil {
		return time.Time{}, err
	}
	var files, directories time.Time
	for _, directory := range own {
		err := s.walk(ctx, directory, func(info driver.FileInfo) error {
			newest := &files
			if info.IsDir() {
				newest = &directories
			}
			if info.ModTime().After(*newest) {
				*newest = info.ModTime()
			}
			return nil
		})
		if err != nil {
			return time.Time{}, err
		}
	}
	if files.IsZero() {
		return directories, nil
	}
	return files, nil
}

// RemoveRepository removes what belongs to the repository. Others whose names begin with
// its name stay, and so does a directory in which this registry may store new ones.
func (s *Store) RemoveRepository(ctx context.Context, r Repository) error {
	return s.removeRepository(ctx, r, func(Session) bool { return false })
}

// removeRepository leaves what a push does in the repository at this moment: its session, for
// which keep says yes or whose writer is announced, and what it writes into a directory that
// goes.
func (s *Store) removeRepository(ctx context.Context, r Repository, keep func(Session) bool) error {
	own, nested, err := s.contents(ctx, r)
	if err != nil {
		return err
	}
	for _, directory := range own {
		if path.Base(directory) == "_uploads" {
			err = s.removeSessions(ctx, directory, keep)
		} else if err = s.remove(ctx, directory); err != nil {
			err = &WriteError{err}
		}
		if err != nil && !isWrittenAgain(err) {
			return err
		}
	}
	if len(nested) > 0 || !strings.Contains(string(r), "/") {
		return nil
	}
	if err := s.removeEmpty(ctx, r.path()); err != nil {
		return &WriteError{err}
	}
	return nil
}

// removeSessions removes the uploads of a repository with everything else that is among them.
func (s *Store) removeSessions(ctx context.Context, uploads string, keep func(Session) bool) error {
	entries, err := s.list(ctx, uploads)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		var session Session
		known := uuid.Validate(path.Base(entry)) == nil
		if known {
			session, err = s.Session(ctx, entry)
		}
		switch {
		case !known, errors.Is(err, ErrNotFound):
			err = s.remove(ctx, entry)
		case err != nil:
			return err
		case keep(session):
			continue
		default:
			err = s.RemoveSession(ctx, session)
		}
		if err != nil && !errors.Is(err, ErrUploadBusy) {
			return &WriteError{err}
		}
	}
	if err := s.removeEmpty(ctx, uploads); err != nil {
		return &WriteError{err}
	}
	return nil
}
