package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/registry/route"

	"github.com/opencontainers/go-digest"
)

// Link returns the canonical digest that a repository's link names. A digest of
// another algorithm is an alias whose link names the canonical one.
func (s *Store) Link(ctx context.Context, name route.Name, set Links, d digest.Digest) (digest.Digest, error) {
	return s.readLink(ctx, linkPath(name, set, d))
}

func (s *Store) readLink(ctx context.Context, path string) (digest.Digest, error) {
	raw, err := s.get(ctx, path)
	if err != nil {
		return "", err
	}
	canonical, err := manifest.ParseDigest(strings.TrimSpace(string(raw)))
	if err != nil || canonical.Algorithm() != digest.SHA256 {
		return "", fmt.Errorf("link %s: %w", path, ErrNotFound)
	}
	return canonical, nil
}

// PutLink writes a link, also when it is there: its time protects the content from
// being cleaned up.
func (s *Store) PutLink(ctx context.Context, name route.Name, set Links, d, canonical digest.Digest) error {
	return s.put(ctx, linkPath(name, set, d), []byte(canonical))
}

// LinkTime returns when a link was written last.
func (s *Store) LinkTime(ctx context.Context, name route.Name, set Links, d digest.Digest) (time.Time, error) {
	info, err := s.stat(ctx, linkPath(name, set, d))
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// RemoveLink removes a link and its directory.
func (s *Store) RemoveLink(ctx context.Context, name route.Name, set Links, d digest.Digest) error {
	return s.remove(ctx, linkDirectory(name, set, d))
}

// PutTagHint notes which digest a tag had. Nothing but recovery reads it.
func (s *Store) PutTagHint(ctx context.Context, name route.Name, tag string, canonical digest.Digest) error {
	return s.put(ctx, tagPath(name, tag), []byte(canonical))
}

// RemoveTagHint removes the note of a tag.
func (s *Store) RemoveTagHint(ctx context.Context, name route.Name, tag string) error {
	return s.remove(ctx, tagDirectory(name, tag))
}

// PutReferrer links a manifest to the subject that it names.
func (s *Store) PutReferrer(ctx context.Context, name route.Name, subject, referrer, canonical digest.Digest) error {
	return s.put(ctx, referrerDirectory(name, subject, referrer)+"/link", []byte(canonical))
}

// RemoveReferrer removes the link of a manifest to its subject.
func (s *Store) RemoveReferrer(ctx context.Context, name route.Name, subject, referrer digest.Digest) error {
	return s.remove(ctx, referrerDirectory(name, subject, referrer))
}

// Referrer is one entry of a subject.
type Referrer struct {
	// Digest as it was linked, Canonical what it names.
	Digest, Canonical digest.Digest
}

// Referrers lists the manifests that name the subject, in no particular order.
func (s *Store) Referrers(ctx context.Context, name route.Name, subject digest.Digest) ([]Referrer, error) {
	var found []Referrer
	err := Inventory{Store: s}.digests(ctx, referrersDirectory(name, subject), func(d digest.Digest, entry string) error {
		canonical, err := s.readLink(ctx, entry+"/link")
		switch {
		case errors.Is(err, ErrNotFound):
			return nil // removed meanwhile
		case err != nil:
			return err
		}
		found = append(found, Referrer{Digest: d, Canonical: canonical})
		return nil
	})
	return found, err
}

// list returns the paths directly below a path; one that is not there has none.
func (s *Store) list(ctx context.Context, path string) ([]string, error) {
	entries, err := s.driver.List(ctx, path)
	if err != nil && !isNotFound(err) && isVanished(err) {
		entries, err = s.driver.List(ctx, path)
	}
	if err != nil && !isNotFound(err) {
		return nil, &Error{"list " + path, err}
	}
	return entries, nil
}
