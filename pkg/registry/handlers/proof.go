package handlers

import (
	"context"
	"errors"
	"sync"

	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/registry/membership"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
)

const (
	// maxProofDepth is how deep the image API descends into indexes of indexes.
	maxProofDepth = 8
	// maxProofs bounds what one index makes be looked at.
	maxProofs = 10 * manifest.MaxDescriptors
)

// proven tells whether a stored child of an index may become this repository's own, with
// all that it consists of. That it is readable here does not suffice: it may be here by an
// import, for which somebody need only have known its bytes, and a nested index may have
// come before what it names. So every blob below must be readable here as well; one that
// only the source of an import has is fetched. What is not stored yet, the image API
// tells by its age from what the index proves.
func (p *push) proven(ctx context.Context, scope *membership.Scope, once *sync.Mutex, canonical digest.Digest, depth int) (bool, error) {
	if seen, room := p.visit(canonical); seen {
		return true, nil
	} else if !room || depth < 0 {
		return false, nil
	}
	parsed, err := p.stored(ctx, canonical)
	var defect *manifest.Error
	switch {
	case errors.Is(err, store.ErrNotFound), errors.As(err, &defect):
		return true, nil // there is nothing below it
	case errors.Is(err, store.ErrCorrupt):
		return false, nil // it has to be pushed again
	case err != nil:
		return false, err
	}
	for _, blob := range parsed.Stored() {
		if seen, room := p.visit(blob.Digest); seen {
			continue
		} else if !room {
			return false, nil
		}
		readable, err := p.readable(ctx, scope, once, blob.Digest)
		if err != nil || !readable {
			return false, err
		}
	}
	for _, child := range parsed.Manifests {
		if seen, room := p.visit("below " + child.Digest); seen {
			continue
		} else if !room {
			return false, nil
		}
		readable, err := p.provenBelow(ctx, scope, once, child.Digest, depth-1)
		if err != nil || !readable {
			return false, err
		}
	}
	return true, nil
}

// visit notes that something is looked at: a manifest, a blob, or a name that a nested
// index has for a manifest. Whoever comes first reports what is missing.
func (p *push) visit(d digest.Digest) (seen, room bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.visited[d] {
		return true, true
	}
	if len(p.visited) >= maxProofs {
		return false, false
	}
	p.visited[d] = true
	return false, true
}

// provenBelow is proven for a child of a child, which nobody requires to be there.
func (p *push) provenBelow(ctx context.Context, scope *membership.Scope, once *sync.Mutex, child digest.Digest, depth int) (bool, error) {
	once.Lock()
	canonical, err := scope.Manifest(ctx, child)
	once.Unlock()
	if errors.Is(err, store.ErrNotFound) {
		return p.isNowhere(ctx, child)
	}
	if err != nil {
		return false, err
	}
	return p.proven(ctx, scope, once, canonical, depth)
}

// readable tells whether a blob can be read in this repository, after fetching it if its
// source has it.
func (p *push) readable(ctx context.Context, scope *membership.Scope, once *sync.Mutex, d digest.Digest) (bool, error) {
	_, err := p.Store.Link(ctx, p.req.route.Name, store.Layers, d)
	if errors.Is(err, store.ErrNotFound) {
		once.Lock()
		_, err = scope.Blob(ctx, d)
		once.Unlock()
	}
	if errors.Is(err, store.ErrNotFound) {
		_, err = p.obtain(ctx, scope, once, d)
	}
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// isNowhere tells whether nobody has stored a manifest.
func (p *push) isNowhere(ctx context.Context, d digest.Digest) (bool, error) {
	if d.Algorithm() != digest.SHA256 {
		return true, nil
	}
	_, err := p.Store.Stat(ctx, d)
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	}
	return false, err
}
