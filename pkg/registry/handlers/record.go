package handlers

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/membership"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

const (
	parallelChildren = 5

	// maxImageBytes bounds the JSON of an Image that the registry sends.
	maxImageBytes = 512 << 10
	maxIndexDepth = 3
)

// record writes the image into the image API: one mapping for each tag, or the Image
// alone.
func (p *push) record(ctx context.Context) error {
	if err := p.recordChildren(ctx); err != nil {
		return err
	}
	image, err := p.image(ctx, p.manifest)
	if err != nil {
		return err
	}
	name := p.req.route.Name
	if len(p.tags) == 0 {
		if err := p.Pusher.EnsureStream(ctx, name, p.createStream); err != nil {
			return err
		}
		return p.Pusher.Image(ctx, name, image)
	}
	for _, tag := range p.tags {
		if err := p.Pusher.Tag(ctx, name, tag, image, p.createStream); err != nil {
			return err
		}
	}
	return nil
}

// createStream makes the stream of a first push. With requirecreate the user needs a
// permission for it.
func (p *push) createStream(ctx context.Context, name route.Name) error {
	if p.Options.RequireCreate {
		decision, err := p.Authorizer.Authorize(ctx, p.req.identity, auth.CreateStream(name.Namespace, name.Stream))
		if err != nil {
			return reviewFailed(err)
		}
		if !decision.Allowed {
			return apierror.New(http.StatusForbidden, apierror.CodeDenied,
				"image stream %q does not exist and user %q cannot create it", name, p.req.identity.Username)
		}
	}
	err := p.Pusher.Create(ctx, name, p.req.identity.Username)
	p.req.record.CreatedStream = err == nil
	return err
}

// recordChildren gives stored children of an index their Image back if it was pruned,
// and stamps the others, so that a prune does not take them from under the index.
func (p *push) recordChildren(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelChildren)
	for _, child := range p.children {
		group.Go(func() error {
			canonical := p.canonical[child]
			build := func(ctx context.Context) (*imagev1.Image, error) {
				parsed, err := p.stored(ctx, canonical)
				if err != nil {
					return nil, err
				}
				return p.image(ctx, parsed)
			}
			if err := p.Pusher.Renew(ctx, p.req.route.Name, canonical.String(), build); err != nil {
				return fmt.Errorf("child %s: %w", child, err)
			}
			return nil
		})
	}
	return group.Wait()
}

func (p *push) stored(ctx context.Context, canonical digest.Digest) (*manifest.Manifest, error) {
	raw, err := p.Store.Manifest(ctx, canonical)
	if err != nil {
		return nil, err
	}
	return manifest.Parse(raw, "")
}

// image builds the Image of a manifest.
func (p *push) image(ctx context.Context, m *manifest.Manifest) (*imagev1.Image, error) {
	facts := manifest.Facts{Now: p.Now(), Canonical: p.canonicalOf}
	if m.IsIndex() {
		sum := childrenSum{push: p, scope: membership.NewLive(p.API, p.Streams, p.Store, p.req.route.Name), seen: map[digest.Digest]bool{}}
		size, err := sum.below(ctx, m, maxIndexDepth)
		if err != nil {
			return nil, err
		}
		facts.ChildrenSize = size
	} else if manifest.IsImageConfig(m.Config.MediaType) && m.Config.Size <= manifest.MaxConfigBytes {
		config, err := p.Store.Manifest(ctx, p.canonicalOf(m.Config.Digest))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		facts.Config = config
	}
	image := &imagev1.Image{}
	image.Name = m.Digest.String()
	image.Annotations = map[string]string{
		imagev1.ManagedByAlaudaAnnotation:         "true",
		imagev1.ImageManifestBlobStoredAnnotation: "true",
	}
	image.DockerImageReference = p.Options.ServerAddr + "/" + p.req.route.Name.String() + "@" + image.Name
	return image, manifest.Describe(m, facts).Apply(image, maxImageBytes)
}

func (p *push) canonicalOf(d digest.Digest) digest.Digest {
	p.mu.Lock()
	defer p.mu.Unlock()
	if canonical, ok := p.canonical[d]; ok {
		return canonical
	}
	return d
}

// childrenSum adds up what is stored and readable here below an index. Each digest counts
// once: a small index may name one child ten thousand times.
type childrenSum struct {
	push  *push
	scope *membership.Scope
	seen  map[digest.Digest]bool
}

func (s childrenSum) below(ctx context.Context, m *manifest.Manifest, depth int) (int64, error) {
	var total int64
	for _, child := range m.Manifests {
		if depth == 0 || s.seen[child.Digest] || len(s.seen) == manifest.MaxDescriptors {
			continue
		}
		s.seen[child.Digest] = true
		size, err := s.of(ctx, child.Digest, depth)
		if err != nil {
			return 0, err
		}
		total = addUp(total, size)
	}
	return total, nil
}

func (s childrenSum) of(ctx context.Context, named digest.Digest, depth int) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	canonical, err := s.scope.Manifest(ctx, named)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	child, err := s.push.stored(ctx, canonical)
	var defect *manifest.Error
	switch {
	case errors.Is(err, store.ErrNotFound), errors.As(err, &defect):
		return 0, nil
	case err != nil:
		return 0, err
	case child.IsIndex():
		size, err := s.below(ctx, child, depth-1)
		return addUp(int64(len(child.Raw)), size), err
	}
	var size int64
	for _, blob := range child.Blobs() {
		size = addUp(size, blob.Size)
	}
	return size, nil
}

func addUp(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
