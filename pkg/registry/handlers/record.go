package handlers

import (
	"context"
	"fmt"
	"net/http"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/imagebuild"
	"image.alauda.io/registry/pkg/registry/membership"
	"image.alauda.io/registry/pkg/registry/route"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

const parallelChildren = 5

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
	made, err := p.Pusher.Make(ctx, name, p.req.identity.Username)
	p.req.record.CreatedStream = p.req.record.CreatedStream || made
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

// builder makes the Images of this push.
func (p *push) builder() imagebuild.Builder {
	return imagebuild.Builder{Store: p.Store, ServerAddr: p.Options.ServerAddr, Now: p.Now}
}

func (p *push) stored(ctx context.Context, canonical digest.Digest) (*manifest.Manifest, error) {
	return p.builder().Stored(ctx, canonical)
}

// image builds the Image of a manifest.
func (p *push) image(ctx context.Context, m *manifest.Manifest) (*imagev1.Image, error) {
	scope := membership.NewLive(p.API, p.Streams, p.Store, p.req.route.Name)
	return p.builder().Image(ctx, p.req.route.Name, m, imagebuild.Sources{Canonical: p.canonicalOf, Child: scope.Manifest})
}

func (p *push) canonicalOf(d digest.Digest) digest.Digest {
	p.mu.Lock()
	defer p.mu.Unlock()
	if canonical, ok := p.canonical[d]; ok {
		return canonical
	}
	return d
}
