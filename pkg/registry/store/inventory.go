package store

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"image.alauda.io/registry/pkg/oci/manifest"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
)

// maxDepth bounds the directories that are looked through for repositories. Names of this
// registry have two parts; other registries wrote longer ones.
const maxDepth = 64

// Inventory reads what is in the storage, whoever wrote it: this registry or the stock
// server of distribution, whose layout is the same. It keeps one directory in memory at a
// time. What does not belong to the layout is given to Odd and passed by.
//
// Names of repositories are as they are found, so they may be longer than those that this
// registry serves. All visits come in the order of names.
type Inventory struct {
	Store *Store
	// Odd hears of a path that is not understood and why. Nil is fine.
	Odd func(path string, reason error)
}

func (i Inventory) odd(where string, reason error) {
	if i.Odd != nil {
		i.Odd(strings.TrimPrefix(where, root+"/"), reason)
	}
}

// Repositories visits every repository that has content; one with nothing but uploads has
// none yet. An error of visit ends the walk.
func (i Inventory) Repositories(ctx context.Context, visit func(repository string) error) error {
	return i.walk(ctx, "", maxDepth, func(r Repository, own []string) error {
		if !slices.ContainsFunc(own, isContent) {
			return nil
		}
		return visit(string(r))
	})
}

// walk visits every directory below another one that holds data of a repository, with the
// paths of these data.
func (i Inventory) walk(ctx context.Context, below Repository, depth int, visit func(r Repository, own []string) error) error {
	entries, err := i.entries(ctx, below.path())
	if err != nil {
		return err
	}
	own, nested := split(entries)
	if len(own) > 0 && below != "" {
		if err := visit(below, own); err != nil {
			return err
		}
	}
	if depth == 0 && len(nested) > 0 {
		i.odd(nested[0], errors.New("the directories are nested too deeply"))
		return nil
	}
	for _, entry := range nested {
		if err := i.walk(ctx, Repository(path.Join(string(below), path.Base(entry))), depth-1, visit); err != nil {
			return err
		}
	}
	return nil
}

// isContent recognises the directories of a repository that are not just uploads.
func isContent(entry string) bool {
	switch path.Base(entry) {
	case "_layers", "_manifests", "_referrers":
		return true
	}
	return false
}

// Links visits the links of a repository: the digest that was linked and the canonical one
// behind it, which differs only if the content was pushed by another algorithm.
func (i Inventory) Links(ctx context.Context, repository string, set Links, visit func(linked, canonical digest.Digest) error) error {
	return i.digests(ctx, path.Join(repositories, repository, string(set)), func(linked digest.Digest, entry string) error {
		canonical, err := i.target(ctx, entry+"/link")
		switch {
		case err != nil:
			return err
		case canonical == "":
			return nil
		case linked.Algorithm() == digest.SHA256 && linked != canonical:
			i.odd(entry, fmt.Errorf("the link leads to another digest: %s", canonical))
			return nil
		}
		return visit(linked, canonical)
	})
}

// digests visits the entries of a directory that are laid out as <algorithm>/<hex>.
func (i Inventory) digests(ctx context.Context, directory string, visit func(d digest.Digest, entry string) error) error {
	algorithms, err := i.entries(ctx, directory)
	if err != nil {
		return err
	}
	for _, algorithm := range algorithms {
		if err := i.digestsOf(ctx, path.Base(algorithm), algorithm, visit); err != nil {
			return err
		}
	}
	return nil
}

// digestsOf visits the entries of a directory whose names are digests of the algorithm.
func (i Inventory) digestsOf(ctx context.Context, algorithm, directory string, visit func(d digest.Digest, entry string) error) error {
	entries, err := i.entries(ctx, directory)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		d, err := manifest.ParseDigest(algorithm + ":" + path.Base(entry))
		if err != nil {
			i.odd(entry, err)
			continue
		}
		if err := visit(d, entry); err != nil {
			return err
		}
	}
	return nil
}

// Tags visits the tags that are noted in a repository, with the digest each had last.
func (i Inventory) Tags(ctx context.Context, repository string, visit func(tag string, canonical digest.Digest) error) error {
	entries, err := i.entries(ctx, path.Join(repositories, repository, "_manifests/tags"))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		canonical, err := i.target(ctx, entry+"/current/link")
		if err != nil {
			return err
		}
		if canonical == "" {
			continue
		}
		if err := visit(path.Base(entry), canonical); err != nil {
			return err
		}
	}
	return nil
}

// Blobs visits the digests that have a directory in the global store.
func (i Inventory) Blobs(ctx context.Context, visit func(digest.Digest) error) error {
	algorithms, err := i.entries(ctx, blobs)
	if err != nil {
		return err
	}
	for _, algorithm := range algorithms {
		prefixes, err := i.entries(ctx, algorithm)
		if err != nil {
			return err
		}
		for _, prefix := range prefixes {
			err := i.digestsOf(ctx, path.Base(algorithm), prefix, func(d digest.Digest, _ string) error { return visit(d) })
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// target reads a link; "" when there is none or none that is understood.
func (i Inventory) target(ctx context.Context, link string) (digest.Digest, error) {
	raw, err := i.Store.get(ctx, link)
	switch {
	case errors.Is(err, ErrNotFound):
		return "", nil
	case isInvalidPath(err):
		i.odd(link, errors.New("the name has characters that no name of the layout has"))
		return "", nil
	case err != nil:
		return "", err
	}
	canonical, err := manifest.ParseDigest(strings.TrimSpace(string(raw)))
	if err == nil && canonical.Algorithm() != digest.SHA256 {
		err = errors.New("the link leads to no canonical digest")
	}
	if err != nil {
		i.odd(link, err)
		return "", nil
	}
	return canonical, nil
}

// entries lists a directory in the order of names. A file, and a name that the driver does
// not take, have none.
func (i Inventory) entries(ctx context.Context, directory string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := i.Store.list(ctx, directory)
	if err == nil {
		slices.Sort(entries)
		return entries, nil
	}
	if isInvalidPath(err) {
		i.odd(directory, errors.New("the name has characters that no name of the layout has"))
		return nil, nil
	}
	if info, statErr := i.Store.driver.Stat(ctx, directory); statErr == nil && !info.IsDir() {
		i.odd(directory, errors.New("a file where only directories belong"))
		return nil, nil
	}
	return nil, err
}

func isInvalidPath(err error) bool {
	var invalid driver.InvalidPathError
	return errors.As(err, &invalid)
}
