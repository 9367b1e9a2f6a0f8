package gc

import (
	"context"
	"errors"
	"fmt"

	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/registry/store"
)

// contents is what a stored manifest names, each by the algorithm that it names it with.
type contents struct {
	manifests, blobs []string
}

// read reads a manifest from the storage. found is false when its bytes are not there.
func (r *run) read(ctx context.Context, key [32]byte) (named contents, found bool, err error) {
	raw, err := r.Store.Manifest(ctx, digestOf(key))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return contents{}, false, nil
	case err != nil:
		return contents{}, false, err
	}
	return parse(raw), true, nil
}

// parse reads what a document names. One that is no manifest of today, such as those of
// schema 1 that another registry has left, names whatever looks like a digest in it.
func parse(raw []byte) (named contents) {
	parsed, err := manifest.Parse(raw, "")
	if err != nil {
		named.manifests = anyDigest.FindAllString(string(raw), -1)
		return named
	}
	for _, blob := range parsed.Blobs() {
		named.blobs = append(named.blobs, blob.Digest.String())
	}
	for _, child := range parsed.Manifests {
		named.manifests = append(named.manifests, child.Digest.String())
	}
	if parsed.Subject != nil {
		named.manifests = append(named.manifests, parsed.Subject.Digest.String())
	}
	return named
}

// readUnknown reads every live manifest about which the API does not say what it consists
// of, and what these name, until nothing new comes. Only entries with all the flags are
// read: one that no enumeration has found has nothing to protect.
func (r *run) readUnknown(ctx context.Context, which flags) error {
	for {
		var round []uint32
		r.mu.Lock()
		for index := range r.digests.count {
			entry := r.digests.at(index)
			if entry.flags&which == which {
				entry.flags &^= unread
				round = append(round, index)
			}
		}
		r.mu.Unlock()
		if len(round) == 0 {
			return ctx.Err()
		}
		if err := r.readRound(ctx, round); err != nil {
			return err
		}
	}
}

func (r *run) readRound(ctx context.Context, round []uint32) error {
	return r.each(ctx, len(round), func(ctx context.Context, i int) error {
		key := r.keyAt(round[i])
		named, _, err := r.read(ctx, key)
		if err != nil {
			return damaged(key, err)
		}
		r.markContents(named)
		return nil
	})
}

// damaged makes a guard of a manifest that cannot be what it was.
func damaged(key [32]byte, err error) error {
	if !errors.Is(err, store.ErrCorrupt) {
		return err
	}
	return &Guard{GuardUnknown, fmt.Sprintf("manifest %s is in use and damaged in the storage, and the API does not say what it consists of", digestOf(key))}
}

func (r *run) keyAt(index uint32) [32]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.digests.at(index).key
}

func (r *run) markContents(named contents) {
	for _, blob := range named.blobs {
		r.markBlob(blob)
	}
	for _, child := range named.manifests {
		r.markManifest(child)
	}
}
