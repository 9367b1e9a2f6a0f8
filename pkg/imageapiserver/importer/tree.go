package importer

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"image.alauda.io/registry/pkg/oci/manifest"
)

// tree imports an index with all that it names. Children come out each before those that
// contain it, in the order in which the index names them, and each once.
type tree struct {
	*lookup
	// counted are the entries of all indexes so far.
	counted  int
	nodes    map[digest.Digest]*node
	children []*described
	// missing are the children that the registry does not have, foreign those that are no
	// manifests.
	missing, foreign []string
}

// node is one child. One that the registry does not have, or that is no manifest, has
// neither manifest nor image.
type node struct {
	manifest *manifest.Manifest
	image    *described
	missing  bool
	err      error
}

func newTree(l *lookup) *tree {
	return &tree{lookup: l, nodes: map[digest.Digest]*node{}}
}

// descend imports an index. named is the digest it was asked for, if any.
func (t *tree) descend(ctx context.Context, index *manifest.Manifest, named digest.Digest) (*described, error) {
	return t.index(ctx, index, named, 1)
}

func (t *tree) index(ctx context.Context, index *manifest.Manifest, named digest.Digest, depth int) (*described, error) {
	t.counted += len(index.Manifests)
	if t.counted > MaxChildren {
		return nil, invalid("the index has more than %d manifests", MaxChildren)
	}
	t.fetch(ctx, index.Manifests)
	e := evidence{manifest: index, digest: named, raw: t.unit.raw, children: map[digest.Digest]*manifest.Manifest{}}
	for _, descriptor := range index.Manifests {
		child := t.nodes[descriptor.Digest]
		if err := t.include(ctx, child, descriptor, depth); err != nil {
			return nil, about("manifest "+descriptor.Digest.String(), FromRemote(err))
		}
		if _, counted := e.children[descriptor.Digest]; counted {
			continue
		}
		e.children[descriptor.Digest] = child.manifest
		if child.image != nil {
			e.childrenSize = add(e.childrenSize, child.image.image.DockerImageMetadata.Size)
		}
	}
	return t.describe(ctx, e)
}

// fetch reads the children that no other index has named yet, several at a time. All of
// them are asked for even if one fails: the error that is reported then depends on what the
// index says and not on which answer came first.
func (t *tree) fetch(ctx context.Context, descriptors []v1.Descriptor) {
	var group errgroup.Group
	group.SetLimit(t.importer.options.Limits.RequestWorkers)
	for _, descriptor := range descriptors {
		if t.nodes[descriptor.Digest] != nil {
			continue
		}
		child := &node{}
		t.nodes[descriptor.Digest] = child
		group.Go(func() error {
			t.read(ctx, child, descriptor)
			return nil
		})
	}
	_ = group.Wait() // no function returns an error
}

// read fills a node. Only the manifest itself may be missing: an image whose config is gone
// is a broken one.
func (t *tree) read(ctx context.Context, child *node, descriptor v1.Descriptor) {
	defer contain(t.unit.lookupKey.repository.host, func(err error) { child.err = err })
	if !isManifestType(descriptor.MediaType) {
		return
	}
	m, err := t.child(ctx, descriptor)
	if err != nil {
		child.missing = notFound(FromRemote(err))
		child.err = err
		return
	}
	child.manifest = m
	if !m.IsIndex() {
		child.image, child.err = t.single(ctx, m, descriptor)
	}
}

// isManifestType tells whether an entry of an index is to be read as a manifest. Readers of
// an index have to pass over types that they do not know (OCI image index specification), but
// schema 1 and the like are manifests that cannot be used, which the parser says.
func isManifestType(mediaType string) bool {
	return mediaType == "" || manifest.IsManifest(mediaType) || manifest.IsIndex(mediaType) ||
		strings.HasPrefix(mediaType, "application/vnd.docker.distribution.manifest.")
}

// include puts a child, and what is below it, into the result.
func (t *tree) include(ctx context.Context, child *node, descriptor v1.Descriptor, depth int) error {
	switch {
	case child.missing:
		t.missing = appendNew(t.missing, descriptor.Digest.String())
		return nil
	case child.err != nil:
		return child.err
	case child.manifest == nil:
		t.foreign = appendNew(t.foreign, descriptor.Digest.String())
		return nil
	}
	if child.manifest.IsIndex() && child.image == nil {
		if depth >= MaxIndexDepth {
			return tooDeep()
		}
		nested, err := t.index(ctx, child.manifest, descriptor.Digest, depth+1)
		if err != nil {
			return err
		}
		child.image = nested
	} else if t.included(child.image) {
		return nil
	}
	t.children = append(t.children, child.image)
	return nil
}

func (t *tree) included(image *described) bool {
	for _, other := range t.children {
		if other == image {
			return true
		}
	}
	return false
}

// note tells the user what of the index is not there.
func (t *tree) note() string {
	var notes []string
	for _, list := range []struct {
		what    string
		digests []string
	}{
		{"not in the registry", t.missing},
		{"no manifests and were passed over", t.foreign},
	} {
		if n := len(list.digests); n > 0 {
			notes = append(notes, fmt.Sprintf("%d of the %d entries of the index are %s: %s", n, t.counted, list.what, few(list.digests)))
		}
	}
	return strings.Join(notes, "; ")
}

func few(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
}

func appendNew(list []string, name string) []string {
	for _, existing := range list {
		if existing == name {
			return list
		}
	}
	return append(list, name)
}

// add stops at the largest number: sizes come from strangers.
func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
