package importer

import (
	"context"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/oci/manifest"
)

// outcome is what a lookup found, for all items that share it.
type outcome struct {
	image    *described
	children []*described
	// remote is the digest under which the registry has it now.
	remote     string
	note       string
	unchanged  bool
	err        *Error
	unfinished bool
}

// lookup is one unit at work.
type lookup struct {
	*session
	unit       *unit
	repository Repository
}

// run looks up the unit. A returned error stands for the whole unit.
func (l *lookup) run(ctx context.Context) (*outcome, error) {
	unchanged, err := l.unchanged(ctx)
	if err != nil || unchanged != nil {
		return unchanged, err
	}
	m, err := l.manifest(ctx, l.unit.lookupKey.repository, l.repository, l.unit.reference, "")
	if err != nil {
		return nil, err
	}
	result := &outcome{remote: m.Digest.String()}
	var named digest.Digest
	if l.unit.ref.ID != "" {
		named = digest.Digest(l.unit.ref.ID)
		result.remote = l.unit.ref.ID
	}
	switch {
	case !m.IsIndex():
		result.image, err = l.single(ctx, m, v1.Descriptor{Digest: named})
	case l.unit.mode == imageapi.ImportModeLegacy:
		result.image, err = l.pick(ctx, m, 1)
		if err == nil {
			l.importer.remembered.note(l.unit.lookupKey, result.remote, result.image.image.Name)
		}
	default:
		tree := newTree(l)
		result.image, err = tree.descend(ctx, m, named)
		result.children, result.note = tree.children, tree.note()
	}
	if err != nil {
		return nil, err
	}
	return result, nil
}

// unchanged asks for the digest alone and returns an outcome if it still leads to the image
// that the item has. Everything but a cool-down or the end of time is left to the question
// for the manifest, whose answer counts: some registries do not know HEAD.
func (l *lookup) unchanged(ctx context.Context) (*outcome, error) {
	if l.unit.lastDigest == "" {
		return nil, nil
	}
	remote, err := l.head(ctx, l.unit.lookupKey.repository, l.repository, l.unit.reference)
	if err != nil {
		if failure := FromRemote(err); failure.Transient && (failure.RetryAfter > 0 || ctx.Err() != nil) {
			return nil, err
		}
		return nil, nil
	}
	same := remote.String() == l.unit.lastDigest ||
		l.unit.mode == imageapi.ImportModeLegacy &&
			l.importer.remembered.leads(l.unit.lookupKey, remote.String(), l.unit.lastDigest)
	if remote == "" || !same {
		return nil, nil
	}
	return &outcome{remote: remote.String(), unchanged: true}, nil
}

// single describes a manifest that is not an index. The descriptor is that of the index
// that names it; of a manifest that nobody names only its digest may be set.
func (l *lookup) single(ctx context.Context, m *manifest.Manifest, descriptor v1.Descriptor) (*described, error) {
	e := evidence{manifest: m, digest: descriptor.Digest, platform: descriptor.Platform, raw: l.unit.raw}
	if manifest.IsImageConfig(m.Config.MediaType) {
		config, err := l.config(ctx, l.unit.lookupKey.repository, l.repository, *m.Config)
		if err != nil {
			return nil, about("config", FromRemote(err))
		}
		e.config = config
	}
	return l.describe(ctx, e)
}

func (l *lookup) describe(ctx context.Context, e evidence) (result *described, err error) {
	limits := l.importer.options.Limits
	err = l.parse(ctx, func() (err error) {
		result, err = describe(e, l.importer.options.Clock.Now(), limits.ImageBytes)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := l.keep(result.size); err != nil {
		return nil, err
	}
	return result, nil
}

func tooLargeTogether() *Error {
	return invalid("the images of this request are too large together, import fewer of them at a time")
}

// pick imports one child of an index, as mode Legacy asks.
func (l *lookup) pick(ctx context.Context, index *manifest.Manifest, depth int) (*described, error) {
	at := choose(index.Manifests, l.unit.platform)
	if at < 0 {
		return nil, invalid("the index %s has no manifests", index.Digest)
	}
	descriptor := index.Manifests[at]
	child, err := l.child(ctx, descriptor)
	if err != nil {
		return nil, about("manifest "+descriptor.Digest.String(), FromRemote(err))
	}
	if !child.IsIndex() {
		return l.single(ctx, child, descriptor)
	}
	if depth >= MaxIndexDepth {
		return nil, tooDeep()
	}
	return l.pick(ctx, child, depth+1)
}

// child fetches what an index names and checks that it is what the index says.
func (l *lookup) child(ctx context.Context, descriptor v1.Descriptor) (*manifest.Manifest, error) {
	m, err := l.manifest(ctx, l.unit.lookupKey.repository, l.repository, descriptor.Digest.String(), descriptor.MediaType)
	if err != nil {
		return nil, err
	}
	return m, sameSize(int64(len(m.Raw)), descriptor)
}

func tooDeep() *Error {
	return invalid("the index is nested more than %d levels deep", MaxIndexDepth)
}
