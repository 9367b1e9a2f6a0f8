package recovery

import (
	"context"
	"errors"
	"fmt"

	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// maxDepth is how deep the image API descends into indexes of indexes.
const maxDepth = 8

// verdict is what is wrong with a manifest of a repository.
type verdict struct {
	// incomplete says what is missing or damaged in the storage.
	incomplete string
	// foreign says what the manifest names that is not linked in the repository: recording
	// it could open what belongs to others.
	foreign string
}

func (v verdict) defect() string {
	if v.foreign != "" {
		return v.foreign
	}
	return v.incomplete
}

// verified is a manifest that was read, with the canonical digests of what it names.
type verified struct {
	*manifest.Manifest
	canonical map[digest.Digest]digest.Digest
	// children are those that are linked here and stored, by canonical digest.
	children []digest.Digest
}

func (v *verified) canonicalOf(d digest.Digest) digest.Digest {
	if canonical, known := v.canonical[d]; known {
		return canonical
	}
	return d
}

// verifier checks manifests of one repository by the rules of a push, with links alone: the
// stream, by which content can be readable as well, is what was lost.
type verifier struct {
	*Recovery
	name route.Name
	seen map[digest.Digest]verdict
	// rely keeps collectors away from what is found.
	rely bool
}

// check tells what is wrong with a manifest. The manifest itself is nil if it cannot be read.
func (v *verifier) check(ctx context.Context, canonical digest.Digest, depth int) (*verified, verdict, error) {
	parsed, err := v.builder.Stored(ctx, canonical)
	var defect *manifest.Error
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, verdict{incomplete: "its bytes are missing in the storage"}, nil
	case errors.Is(err, store.ErrCorrupt):
		return nil, verdict{incomplete: "its bytes are damaged"}, nil
	case errors.As(err, &defect):
		return nil, verdict{incomplete: "it is not accepted: " + defect.Error()}, nil
	case err != nil:
		return nil, verdict{}, err
	}
	if v.rely {
		if _, err := v.Store.Rely(ctx, canonical); err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, verdict{}, err
		}
	}
	found := &verified{Manifest: parsed, canonical: map[digest.Digest]digest.Digest{}}
	var result verdict
	for _, blob := range parsed.Stored() {
		one, err := v.blob(ctx, found, blob)
		if err != nil {
			return nil, verdict{}, err
		}
		result.add(one)
	}
	seen := map[digest.Digest]bool{}
	for _, child := range parsed.Manifests {
		if seen[child.Digest] {
			continue
		}
		seen[child.Digest] = true
		one, err := v.child(ctx, found, child.Digest, depth)
		if err != nil {
			return nil, verdict{}, err
		}
		result.add(one)
	}
	return found, result, v.subject(ctx, found)
}

func (v *verdict) add(other verdict) {
	if v.incomplete == "" {
		v.incomplete = other.incomplete
	}
	if v.foreign == "" {
		v.foreign = other.foreign
	}
}

func (v *verifier) blob(ctx context.Context, found *verified, blob v1.Descriptor) (verdict, error) {
	canonical, err := v.Store.Link(ctx, v.name, store.Layers, blob.Digest)
	if errors.Is(err, store.ErrNotFound) {
		return verdict{foreign: fmt.Sprintf("%s is not linked in this repository", blob.Digest)}, nil
	}
	if err != nil {
		return verdict{}, err
	}
	found.canonical[blob.Digest] = canonical
	stat := v.Store.Stat
	if v.rely {
		stat = v.Store.Rely
	}
	info, err := stat(ctx, canonical)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return verdict{incomplete: fmt.Sprintf("blob %s is missing in the storage", blob.Digest)}, nil
	case err != nil:
		return verdict{}, err
	case info.Size != blob.Size:
		return verdict{incomplete: fmt.Sprintf("blob %s has %d bytes and not %d", blob.Digest, info.Size, blob.Size)}, nil
	}
	return verdict{}, nil
}

// child checks a child of an index. One that is incomplete does not keep the index from
// coming back: its other platforms are of use.
func (v *verifier) child(ctx context.Context, found *verified, child digest.Digest, depth int) (verdict, error) {
	canonical, err := v.Store.Link(ctx, v.name, store.Revisions, child)
	if errors.Is(err, store.ErrNotFound) {
		return v.unlinkedChild(ctx, child)
	}
	if err != nil {
		return verdict{}, err
	}
	found.canonical[child] = canonical
	stored, err := v.Store.Stored(ctx, canonical)
	if err != nil {
		return verdict{}, err
	}
	if !stored {
		return verdict{}, nil // reported by itself, because it is linked
	}
	found.children = append(found.children, canonical)
	result, known := v.seen[canonical]
	if !known {
		if depth == 0 {
			return verdict{foreign: "its indexes are nested too deeply"}, nil
		}
		if _, result, err = v.check(ctx, canonical, depth-1); err != nil {
			return verdict{}, err
		}
		v.seen[canonical] = result
	}
	if result.foreign != "" {
		return verdict{foreign: fmt.Sprintf("its child %s cannot be trusted: %s", child, result.foreign)}, nil
	}
	return verdict{}, nil
}

// unlinkedChild allows a child that nobody has. One that is stored, or has an Image, is
// another repository's, and a new tag would make it readable here.
func (v *verifier) unlinkedChild(ctx context.Context, child digest.Digest) (verdict, error) {
	if child.Algorithm() != digest.SHA256 {
		return verdict{}, nil
	}
	stored, err := v.Store.Stored(ctx, child)
	if err != nil {
		return verdict{}, err
	}
	if !stored {
		_, err = v.API.Image(ctx, child.String())
		if apierrors.IsNotFound(err) {
			return verdict{}, nil
		}
		if err != nil {
			return verdict{}, fmt.Errorf("image %s: %w", child, err)
		}
	}
	return verdict{foreign: fmt.Sprintf("its child %s is not linked in this repository", child)}, nil
}

// subject finds the canonical digest of a subject that is named by another algorithm.
func (v *verifier) subject(ctx context.Context, found *verified) error {
	if found.Subject == nil || found.Subject.Digest.Algorithm() == digest.SHA256 {
		return nil
	}
	canonical, err := v.Store.Link(ctx, v.name, store.Revisions, found.Subject.Digest)
	if err == nil {
		found.canonical[found.Subject.Digest] = canonical
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
