package gc

import (
	"context"
	"errors"
	"slices"

	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
)

// linkPlan is what one repository can do without.
type linkPlan struct {
	name              route.Name
	manifests, layers []link
}

// link is the digest that a link has in its path, and the canonical one that it names.
type link struct{ named, canonical digest.Digest }

func (p linkPlan) empty() bool { return len(p.manifests)+len(p.layers) == 0 }

// links decides about the links of one repository. The decision is made from the
// manifests that stay. Where one of them cannot be read here, because it was imported and
// never fetched, nobody knows which layers it needs, and every link to what is live
// anywhere stays.
type links struct {
	*run
	name              route.Name
	manifests, layers []link
	// referrers of a subject, both canonical where that is known.
	referrers map[digest.Digest][]digest.Digest
	// kept are the manifests that stay, needed is what they name.
	kept, needed map[digest.Digest]bool
	// unknown: one of them cannot be read.
	unknown bool
}

func (r *run) planLinks(ctx context.Context, name route.Name, members []uint32) (linkPlan, error) {
	l := &links{
		run: r, name: name, referrers: map[digest.Digest][]digest.Digest{},
		kept: map[digest.Digest]bool{}, needed: map[digest.Digest]bool{},
	}
	if err := l.list(ctx); err != nil {
		return linkPlan{}, err
	}
	for _, index := range members {
		if err := l.keep(ctx, digestOf(r.keyAt(index))); err != nil {
			return linkPlan{}, err
		}
	}
	if err := l.keepLinked(ctx); err != nil {
		return linkPlan{}, err
	}
	plan := linkPlan{name: name}
	for _, found := range l.manifests {
		if !l.kept[found.canonical] && !(l.unknown && l.isLive(found.canonical)) {
			plan.manifests = append(plan.manifests, found)
		}
	}
	for _, found := range l.layers {
		stays, err := l.layerStays(ctx, found)
		if err != nil {
			return linkPlan{}, err
		}
		if !stays {
			plan.layers = append(plan.layers, found)
		}
	}
	return plan, nil
}

// list reads which links there are.
func (l *links) list(ctx context.Context) error {
	var err error
	if l.manifests, err = l.resolve(ctx, store.Revisions); err != nil {
		return err
	}
	if l.layers, err = l.resolve(ctx, store.Layers); err != nil {
		return err
	}
	aliases := map[digest.Digest]digest.Digest{}
	for _, found := range l.manifests {
		aliases[found.named] = found.canonical
	}
	referrers, err := l.Store.ReferrerLinks(ctx, l.name)
	for _, referrer := range referrers {
		subject := referrer.Subject
		if canonical, known := aliases[subject]; known {
			subject = canonical
		}
		l.referrers[subject] = append(l.referrers[subject], referrer.Canonical)
	}
	return err
}

// resolve lists a set of links. Only those of another algorithm need to be read to know
// what they name; one that names nothing is its own target, and has no data.
func (l *links) resolve(ctx context.Context, set store.Links) ([]link, error) {
	named, err := l.Store.Linked(ctx, l.name, set)
	if err != nil {
		return nil, err
	}
	found := make([]link, 0, len(named))
	for _, d := range named {
		canonical := d
		if d.Algorithm() != digest.SHA256 {
			canonical, err = l.Store.Link(ctx, l.name, set, d)
			if errors.Is(err, store.ErrNotFound) {
				canonical, err = d, nil
			}
			if err != nil {
				return nil, err
			}
		}
		found = append(found, link{named: d, canonical: canonical})
	}
	return found, nil
}

// keepLinked keeps what has an Image, and what was linked a short time ago.
func (l *links) keepLinked(ctx context.Context) error {
	for _, found := range l.manifests {
		if l.kept[found.canonical] {
			continue
		}
		key, ok := keyOf(found.canonical.String())
		stays := ok && l.flags(key)&hasImage != 0
		if !stays {
			var err error
			if stays, err = l.young(ctx, store.Revisions, found.named); err != nil {
				return err
			}
		}
		if stays {
			if err := l.keep(ctx, found.canonical); err != nil {
				return err
			}
		}
	}
	return nil
}

// young tells whether a link was written within the minimum age. A directory without a link is
// what a removal or a write that was cut off has left: it keeps nothing. A push that is about to
// put a link there has relied on the bytes before.
func (l *links) young(ctx context.Context, set store.Links, d digest.Digest) (bool, error) {
	at, err := l.Store.LinkTime(ctx, l.name, set, d)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil && l.age(at) < l.options.MinAge, err
}

// keep keeps a manifest of the repository, what it consists of and what refers to it.
func (l *links) keep(ctx context.Context, first digest.Digest) error {
	for queue := []digest.Digest{first}; len(queue) > 0; queue = queue[1:] {
		d := queue[0]
		if l.kept[d] {
			continue
		}
		l.kept[d] = true
		queue = append(queue, l.referrers[d]...)
		key, ok := keyOf(d.String())
		if !ok {
			l.unknown = true
			continue
		}
		named, err := l.contentsOf(ctx, key)
		if err != nil {
			return err
		}
		for _, blob := range named.blobs {
			l.needed[digest.Digest(blob)] = true
		}
		for _, child := range named.manifests {
			queue = append(queue, digest.Digest(child))
		}
	}
	return nil
}

// contentsOf marks a manifest that stays, and reads what it names.
func (l *links) contentsOf(ctx context.Context, key [32]byte) (contents, error) {
	l.markManifestKey(key)
	if l.flags(key)&stored == 0 {
		l.unknown = true
		return contents{}, nil
	}
	named, found, err := l.read(ctx, key)
	if errors.Is(err, store.ErrCorrupt) && l.flags(key)&(hasImage|unread) == hasImage {
		found, err = false, nil // the Image has said what is live
	}
	if err != nil {
		return contents{}, damaged(key, err)
	}
	if !found {
		l.unknown = true
	}
	l.markContents(named)
	return named, nil
}

func (l *links) isLive(d digest.Digest) bool {
	key, ok := keyOf(d.String())
	return ok && l.flags(key)&live != 0
}

func (l *links) layerStays(ctx context.Context, found link) (bool, error) {
	key, ok := keyOf(found.canonical.String())
	isStored := ok && l.flags(key)&stored != 0
	wanted := l.needed[found.named] || l.needed[found.canonical] || l.kept[found.canonical] ||
		l.unknown && (l.isLive(found.canonical) || found.named != found.canonical) ||
		slices.Contains(store.Constants(), found.canonical)
	if wanted && !isStored {
		// The walk may have missed what was stored meanwhile, and no link of an image goes on a
		// guess.
		var err error
		if isStored, err = l.Store.Stored(ctx, found.canonical); err != nil {
			return false, err
		}
	}
	stays := wanted && isStored
	if !stays {
		var err error
		if stays, err = l.young(ctx, store.Layers, found.named); err != nil {
			return false, err
		}
	}
	if stays && ok {
		l.mark(key, live)
	}
	return stays, nil
}
