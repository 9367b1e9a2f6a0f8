package store

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"image.alauda.io/registry/pkg/registry/route"

	"github.com/distribution/distribution/v3/registry/storage/driver"
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
	own, nested, err := s.contents(ctx, r)
	if err != nil {
		return err
	}
	for _, directory := range own {
		if err := s.remove(ctx, directory); err != nil {
			return &WriteError{err}
		}
	}
	if len(nested) > 0 || !strings.Contains(string(r), "/") {
		return nil
	}
	if err := s.remove(ctx, r.path()); err != nil {
		return &WriteError{err}
	}
	return nil
}
