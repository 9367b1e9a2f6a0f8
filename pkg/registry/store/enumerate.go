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
)

// WalkBlobs calls visit for every blob whose digest begins with the byte. A blob that is
// stored or deleted meanwhile may be missed, and one may come twice. It returns the directories
// of blobs that TidyDirectory shall look at.
func (s *Store) WalkBlobs(ctx context.Context, shard byte, visit func(Info) error) (untidy []string, err error) {
	directory := fmt.Sprintf("%s/%s/%02x", blobs, digest.SHA256, shard)
	others := map[string]bool{} // directories of blobs that have no data, or more than that
	err = s.walk(ctx, directory, func(info driver.FileInfo) error {
		if info.IsDir() {
			others[info.Path()] = true
			return nil
		}
		blob, name := path.Split(info.Path())
		blob = strings.TrimSuffix(blob, "/")
		d, err := manifest.ParseDigest("sha256:" + path.Base(blob))
		if err != nil || blob != blobDirectory(d) {
			return nil //nolint:nilerr // whatever it is, it was not stored by a registry
		}
		if name != "data" {
			untidy = append(untidy, blob)
			return nil
		}
		delete(others, blob)
		return visit(Info{Digest: d, Size: info.Size(), ModTime: info.ModTime()})
	})
	if s.directories == nil || err != nil {
		return nil, err
	}
	for blob := range others {
		if d, err := manifest.ParseDigest("sha256:" + path.Base(blob)); err == nil && blob == blobDirectory(d) {
			untidy = append(untidy, blob)
		}
	}
	slices.Sort(untidy)
	return slices.Compact(untidy), nil
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
// incomplete, so it begins again. On a file system it is not the driver's, which something
// would vanish under all the time while uploads go on.
func (s *Store) walk(ctx context.Context, directory string, visit driver.WalkFn) error {
	if s.driver.Name() == filesystemDriver {
		return s.walkDirectory(ctx, directory, visit)
	}
	var err error
	for range walks {
		if err = s.driver.Walk(ctx, directory, visit); err == nil || !isVanished(err) {
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

// walkDirectory walks through directories one by one. What has gone since it was listed has
// nothing in it, and what has a name that no registry gives is passed by.
func (s *Store) walkDirectory(ctx context.Context, directory string, visit driver.WalkFn) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := s.list(ctx, directory)
	if err != nil {
		return err
	}
	slices.Sort(entries)
	for _, entry := range entries {
		info, err := s.driver.Stat(ctx, entry)
		if isNotFound(err) || isInvalidPath(err) {
			continue // the driver takes no name that a registry does not give
		}
		if err != nil {
			return &Error{"stat " + entry, err}
		}
		if err := visit(info); err != nil {
			return err
		}
		if !info.IsDir() {
			continue
		}
		if err := s.walkDirectory(ctx, entry, visit); err != nil {
			return err
		}
	}
	return nil
}

// Linked lists the digests that a repository has links for.
func (s *Store) Linked(ctx context.Context, name route.Name, set Links) ([]digest.Digest, error) {
	var found []digest.Digest
	err := Inventory{Store: s}.digests(ctx, repositoryPath(name, string(set)), func(d digest.Digest, _ string) error {
		found = append(found, d)
		return nil
	})
	return found, err
}

// ReferrerLink links a manifest to the subject that it names.
type ReferrerLink struct {
	Subject digest.Digest
	Referrer
}

// ReferrerLinks lists all links of a repository's referrers.
func (s *Store) ReferrerLinks(ctx context.Context, name route.Name) ([]ReferrerLink, error) {
	var found []ReferrerLink
	err := Inventory{Store: s}.digests(ctx, repositoryPath(name, "_referrers"), func(subject digest.Digest, _ string) error {
		referrers, err := s.Referrers(ctx, name, subject)
		for _, referrer := range referrers {
			found = append(found, ReferrerLink{Subject: subject, Referrer: referrer})
		}
		return err
	})
	return found, err
}

// Stored tells whether the bytes are there.
func (s *Store) Stored(ctx context.Context, canonical digest.Digest) (bool, error) {
	_, err := s.Stat(ctx, canonical)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
