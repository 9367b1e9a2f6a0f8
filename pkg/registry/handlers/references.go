package handlers

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/membership"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

const (
	// Blobs may appear late in a weakly consistent store: 100 ms, doubled, 6 looks.
	referenceAttempts = 6
	referenceDelay    = 100 * time.Millisecond

	parallelChecks = 8
)

// checkForeign applies the rules for layers that are kept elsewhere.
func (p *push) checkForeign() error {
	for _, layer := range p.manifest.Layers {
		if !manifest.IsForeignLayer(layer.MediaType) {
			continue
		}
		if len(layer.URLs) == 0 && layer.MediaType == manifest.DockerForeignLayer {
			return invalidManifest("foreign layer %s has no urls", layer.Digest)
		}
		for _, text := range layer.URLs {
			if !p.allowedURL(text) {
				return invalidManifest("foreign layer %s has a url that is not allowed here", layer.Digest)
			}
		}
	}
	return nil
}

func (p *push) allowedURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Fragment != "" {
		return false
	}
	for _, deny := range p.Options.DenyURLs {
		if deny.MatchString(text) {
			return false
		}
	}
	for _, allow := range p.Options.AllowURLs {
		if allow.MatchString(text) {
			return true
		}
	}
	return len(p.Options.AllowURLs) == 0
}

func invalidManifest(format string, args ...any) error {
	return apierror.New(http.StatusBadRequest, apierror.CodeManifestInvalid, format, args...)
}

// checkReferences looks for everything that the manifest names, again and again for a
// while, and refuses what stays unknown.
func (p *push) checkReferences(ctx context.Context) error {
	delay := referenceDelay
	for attempt := 1; ; attempt++ {
		unknown, err := p.look(ctx)
		if err != nil || len(unknown) == 0 {
			return err
		}
		if attempt == referenceAttempts {
			return unknownReferences(unknown)
		}
		if err := p.Wait(ctx, delay); err != nil {
			return err
		}
		delay *= 2
	}
}

func unknownReferences(unknown []digest.Digest) error {
	refusal := &apierror.Error{Status: http.StatusBadRequest}
	for _, d := range unknown {
		refusal.Entries = append(refusal.Entries, apierror.Entry{
			Code: apierror.CodeManifestBlobUnknown, Message: "the manifest names content that is not known to this repository", Detail: d.String(),
		})
	}
	return refusal
}

// look checks all references once, with a fresh view of the repository.
func (p *push) look(ctx context.Context) ([]digest.Digest, error) {
	p.blobs, p.children, p.visited = nil, nil, map[digest.Digest]bool{}
	missing := map[digest.Digest]bool{}
	scope := membership.NewLive(p.API, p.Streams, p.Store, p.req.route.Name)
	var group errgroup.Group
	group.SetLimit(parallelChecks)
	var once sync.Mutex // a Scope is not for concurrent use
	check := func(reference v1.Descriptor, find func(context.Context, *membership.Scope, *sync.Mutex, v1.Descriptor) (bool, error)) {
		group.Go(func() error {
			known, err := find(ctx, scope, &once, reference)
			if err == nil && !known {
				p.mu.Lock()
				missing[reference.Digest] = true
				p.mu.Unlock()
			}
			return err
		})
	}
	for _, blob := range p.manifest.Stored() {
		check(blob, p.findBlob)
	}
	for _, child := range p.distinctChildren() {
		check(child, p.findChild)
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return p.inOrder(missing), nil
}

// distinctChildren returns each child once: an index may name one ten thousand times. If
// it names one as required and as not required, it is required.
func (p *push) distinctChildren() []v1.Descriptor {
	position := map[digest.Digest]int{}
	var list []v1.Descriptor
	for _, child := range p.manifest.Manifests {
		at, repeated := position[child.Digest]
		switch {
		case !repeated:
			position[child.Digest] = len(list)
			list = append(list, child)
		case p.childRequired(child):
			list[at] = child
		}
	}
	return list
}

// inOrder lists what is missing in the order of the document.
func (p *push) inOrder(missing map[digest.Digest]bool) (unknown []digest.Digest) {
	for _, reference := range append(p.manifest.Stored(), p.manifest.Manifests...) {
		if missing[reference.Digest] {
			unknown = append(unknown, reference.Digest)
			delete(missing, reference.Digest)
		}
	}
	return unknown
}

// findBlob tells whether a config or layer is readable in this repository, and keeps
// collectors away from it.
func (p *push) findBlob(ctx context.Context, scope *membership.Scope, once *sync.Mutex, blob v1.Descriptor) (bool, error) {
	once.Lock()
	info, err := scope.Blob(ctx, blob.Digest)
	once.Unlock()
	if err == nil {
		info, err = p.Store.Rely(ctx, info.Digest)
	}
	if errors.Is(err, store.ErrNotFound) {
		info, err = p.obtain(ctx, scope, once, blob.Digest)
	}
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if info.Size != blob.Size {
		return false, invalidManifest("blob %s has %d bytes, the manifest says %d", blob.Digest, info.Size, blob.Size)
	}
	p.found(&p.blobs, blob.Digest, info.Digest)
	return true, nil
}

// obtain fetches a blob that the repository has by import only, once for each push. The
// client was told by HEAD that it need not send it.
func (p *push) obtain(ctx context.Context, scope *membership.Scope, once *sync.Mutex, d digest.Digest) (store.Info, error) {
	p.mu.Lock()
	asked := p.asked[d]
	p.asked[d] = true
	p.mu.Unlock()
	if asked {
		return store.Info{}, store.ErrNotFound
	}
	once.Lock()
	wanted, err := wish(ctx, scope, p.req.Request, "", d)
	once.Unlock()
	if err != nil {
		return store.Info{}, err
	}
	wanted.Layers = func(ctx context.Context) (*imagev1.ImageStreamLayers, error) {
		once.Lock()
		defer once.Unlock()
		return scope.Layers(ctx)
	}
	return p.PullThrough.Obtain(ctx, wanted)
}

// findChild applies the rules for children of an index. One that is in the store but
// not readable here is unknown in any case, and so is one of which something below is
// not: an index must not open what belongs to others.
func (p *push) findChild(ctx context.Context, scope *membership.Scope, once *sync.Mutex, child v1.Descriptor) (bool, error) {
	once.Lock()
	canonical, err := scope.Manifest(ctx, child.Digest)
	once.Unlock()
	if errors.Is(err, store.ErrNotFound) {
		return p.absentChildAllowed(ctx, child)
	}
	if err != nil {
		return false, err
	}
	if _, err := p.Store.Rely(ctx, canonical); errors.Is(err, store.ErrNotFound) {
		return !p.childRequired(child), nil
	} else if err != nil {
		return false, err
	}
	if proven, err := p.proven(ctx, scope, once, canonical, maxProofDepth); err != nil || !proven {
		return false, err
	}
	p.found(&p.children, child.Digest, canonical)
	return true, nil
}

func (p *push) absentChildAllowed(ctx context.Context, child v1.Descriptor) (bool, error) {
	if child.Digest.Algorithm() == digest.SHA256 {
		_, err := p.Store.Stat(ctx, child.Digest)
		if err == nil {
			return false, nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return false, err
		}
	}
	return !p.childRequired(child), nil
}

func (p *push) childRequired(child v1.Descriptor) bool {
	switch p.Options.IndexPlatforms {
	case "all":
		return true
	case "list":
		if child.Platform == nil {
			return false
		}
		for _, platform := range p.Options.Platforms {
			if platform == child.Platform.OS+"/"+child.Platform.Architecture {
				return true
			}
		}
	}
	return false
}

func (p *push) found(list *[]digest.Digest, named, canonical digest.Digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*list = append(*list, named)
	p.canonical[named] = canonical
}
