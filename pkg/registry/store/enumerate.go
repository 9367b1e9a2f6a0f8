package store

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/registry/route"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
)

const (
	// Shards is the number of parts in which blobs are enumerated.
	Shards = 256
	// walks bounds how often a walk begins again because something vanished under it.
	walks = 5
	// maxNameDepth bounds the parts of a repository's name.
	maxNameDepth = 64
)

// WalkBlobs calls visit for every blob whose digest begins with the byte. A blob that is
// stored or deleted meanwhile may be missed, and one may come twice.
func (s *Store) WalkBlobs(ctx context.Context, shard byte, visit func(Info) error) error {
	directory := fmt.Sprintf("%s/%s/%02x", blobs, digest.SHA256, shard)
	return s.walk(ctx, directory, func(info driver.FileInfo) error {
		hex, isData := strings.CutSuffix(strings.TrimPrefix(info.Path(), directory+"/"), "/data")
		d, err := manifest.ParseDigest("sha256:" + hex)
		if info.IsDir() || !isData || err != nil || !strings.HasPrefix(hex, path.Base(directory)) {
			return nil //nolint:nilerr // whatever it is, it was not stored by a registry
		}
		return visit(Info{Digest: d, Size: info.Size(), ModTime: info.ModTime()})
	})
}

// WalkMarkers calls visit for the digest of every marker that is older than the age.
// Markers of deletions count as old after ten minutes.
func (s *Store) WalkMarkers(ctx context.Context, age time.Duration, visit func(digest.Digest) error) error {
	now := s.options.Now()
	for kind, limit := range map[string]time.Duration{touchedMarker: age, deletingMarker: deletingAge} {
		directory := fmt.Sprintf("%s/%s/%s", markers, kind, digest.SHA256)
		err := s.walk(ctx, directory, func(info driver.FileInfo) error {
			d, err := manifest.ParseDigest("sha256:" + path.Base(info.Path()))
			if info.IsDir() || err != nil || now.Sub(info.ModTime()) < limit {
				return nil //nolint:nilerr // not a marker
			}
			return visit(d)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// walk visits everything below a directory. A walk that something vanished under is
// incomplete, so it begins again.
func (s *Store) walk(ctx context.Context, directory string, visit driver.WalkFn) error {
	var err error
	for range walks {
		if err = s.driver.Walk(ctx, directory, visit); err == nil || !isNotFound(err) {
			break
		}
		entries, listErr := s.list(ctx, directory)
		if listErr != nil {
			return listErr
		}
		if len(entries) == 0 {
			return nil
		}
	}
	if err != nil {
		return &Error{"walk " + directory, err}
	}
	return nil
}

// Repository is the path of a repository in the storage. Not every one is a name that
// this registry serves: stock registries have names of one part or of many.
type Repository string

// Name returns the name under which this registry serves the repository.
func (r Repository) Name() (route.Name, bool) {
	name, err := route.ParseName(string(r), "")
	return name, err == nil
}

func (r Repository) path() string { return repositories + "/" + string(r) }

// Repositories lists all repositories, sorted. A directory is one when it holds anything
// whose name begins with "_", as all data of a repository does and no part of a name.
func (s *Store) Repositories(ctx context.Context) ([]Repository, error) {
	var found []Repository
	err := s.findRepositories(ctx, "", 0, func(r Repository) { found = append(found, r) })
	slices.Sort(found)
	return found, err
}

func (s *Store) findRepositories(ctx context.Context, below string, depth int, add func(Repository)) error {
	own, nested, err := s.contents(ctx, Repository(below))
	if err != nil {
		return err
	}
	if len(own) > 0 && below != "" {
		add(Repository(below))
	}
	if depth == maxNameDepth {
		return nil
	}
	for _, entry := range nested {
		if err := s.findRepositories(ctx, path.Join(below, path.Base(entry)), depth+1, add); err != nil {
			return err
		}
	}
	return nil
}

// contents lists what belongs to the repository itself, and what is below it.
func (s *Store) contents(ctx context.Context, r Repository) (own, nested []string, err error) {
	entries, err := s.list(ctx, strings.TrimSuffix(r.path(), "/"))
	for _, entry := range entries {
		if strings.HasPrefix(path.Base(entry), "_") {
			own = append(own, entry)
		} else {
			nested = append(nested, entry)
		}
	}
	return own, nested, err
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

// Linked lists the digests that a repository has links for.
func (s *Store) Linked(ctx context.Context, name route.Name, set Links) ([]digest.Digest, error) {
	algorithms, err := s.list(ctx, repositoryPath(name, string(set)))
	if err != nil {
		return nil, err
	}
	var found []digest.Digest
	for _, algorithm := range algorithms {
		entries, err := s.list(ctx, algorithm)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			if d, err := manifest.ParseDigest(path.Base(algorithm) + ":" + path.Base(entry)); err == nil {
				found = append(found, d)
			}
		}
	}
	return found, nil
}

// ReferrerLink links a manifest to the subject that it names.
type ReferrerLink struct {
	Subject digest.Digest
	Referrer
}

// ReferrerLinks lists all links of a repository's referrers.
func (s *Store) ReferrerLinks(ctx context.Context, name route.Name) ([]ReferrerLink, error) {
	algorithms, err := s.list(ctx, repositoryPath(name, "_referrers"))
	if err != nil {
		return nil, err
	}
	var found []ReferrerLink
	for _, algorithm := range algorithms {
		subjects, err := s.list(ctx, algorithm)
		if err != nil {
			return nil, err
		}
		for _, entry := range subjects {
			subject, err := manifest.ParseDigest(path.Base(algorithm) + ":" + path.Base(entry))
			if err != nil {
				continue // not written by this registry
			}
			referrers, err := s.Referrers(ctx, name, subject)
			if err != nil {
				return nil, err
			}
			for _, referrer := range referrers {
				found = append(found, ReferrerLink{Subject: subject, Referrer: referrer})
			}
		}
	}
	return found, nil
}

// Stored tells whether the bytes are there.
func (s *Store) Stored(ctx context.Context, canonical digest.Digest) (bool, error) {
	_, err := s.Stat(ctx, canonical)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
