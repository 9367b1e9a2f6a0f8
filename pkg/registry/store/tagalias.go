package store

import (
	"context"
	"errors"
	"strings"

	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/registry/route"

	"github.com/opencontainers/go-digest"
	"k8s.io/utils/lru"
)

// maxTagAliases bounds what is remembered: some 200 bytes each.
const maxTagAliases = 4096

// tagAlias is a question that was asked of the storage.
type tagAlias struct {
	name      route.Name
	tag       string
	canonical digest.Digest
}

// tagAliases remembers the answers, above all that there is none: nearly every tag has none, and a pull by tag
// must not cost a request to an object store for it.
type tagAliases struct{ known *lru.Cache }

func newTagAliases() *tagAliases { return &tagAliases{lru.New(maxTagAliases)} }

func tagAliasPath(name route.Name, tag string) string {
	return tagDirectory(name, tag) + "/_alias/link"
}

// PutTagAlias notes that the manifest of a tag was pushed under a digest of another algorithm than the canonical one.
func (s *Store) PutTagAlias(ctx context.Context, name route.Name, tag string, alias, canonical digest.Digest) error {
	if err := s.put(ctx, tagAliasPath(name, tag), []byte(alias.String()+" "+canonical.String())); err != nil {
		return err
	}
	s.aliases.known.Add(tagAlias{name, tag, canonical}, alias)
	return nil
}

// TagAlias returns the digest under which the manifest of a tag was pushed, the canonical one where nothing else is
// known. Both are digests of the same bytes, so one that was noted by another replica a moment ago may be missed,
// and a storage that fails has no say.
func (s *Store) TagAlias(ctx context.Context, name route.Name, tag string, canonical digest.Digest) digest.Digest {
	key := tagAlias{name, tag, canonical}
	if known, found := s.aliases.known.Get(key); found {
		return known.(digest.Digest)
	}
	raw, err := s.get(ctx, tagAliasPath(name, tag))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return canonical
	}
	alias := parseTagAlias(string(raw), canonical)
	s.aliases.known.Add(key, alias)
	return alias
}

// parseTagAlias ignores the note of what the tag was before.
func parseTagAlias(text string, canonical digest.Digest) digest.Digest {
	first, second, _ := strings.Cut(text, " ")
	alias, err := manifest.ParseDigest(first)
	if err != nil || second != canonical.String() {
		return canonical
	}
	return alias
}
