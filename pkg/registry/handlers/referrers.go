package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	referrersPage  = 1000
	referrersBytes = 4 << 20
)

// referrers lists the manifests whose subject is the digest. It answers 200 also for
// repositories and digests that it does not know.
func (h *Handlers) referrers(req *request) error {
	query := req.URL.Query()
	filter := query["artifactType"]
	candidates, err := h.candidates(req)
	if err != nil {
		return err
	}
	index := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{}}
	size := 0
	for _, candidate := range candidates {
		if last := query.Get("last"); last != "" && candidate.digest.String() <= last {
			continue
		}
		entry, err := h.describe(req, candidate)
		if err != nil {
			return err
		}
		if entry == nil || len(filter) > 0 && !slices.Contains(filter, entry.ArtifactType) {
			continue
		}
		length, err := fit(entry)
		if err != nil {
			return err
		}
		if len(index.Manifests) == referrersPage || size+length > referrersBytes {
			linkReferrers(req, filter, index.Manifests[len(index.Manifests)-1].Digest)
			break
		}
		size += length
		index.Manifests = append(index.Manifests, *entry)
	}
	if len(filter) > 0 {
		req.w.Header().Set("Oci-Filters-Applied", "artifactType")
	}
	return writeJSON(req, http.StatusOK, v1.MediaTypeImageIndex, index)
}

// fit returns the length of an entry. One that would not fit into any page loses its
// annotations.
func fit(entry *v1.Descriptor) (int, error) {
	raw, err := json.Marshal(entry)
	if err == nil && len(raw) > referrersBytes {
		entry.Annotations = nil
		raw, err = json.Marshal(entry)
	}
	if err == nil && len(raw) > referrersBytes {
		entry.ArtifactType = ""
		raw, err = json.Marshal(entry)
	}
	if err != nil {
		return 0, fmt.Errorf("referrer %s: %w", entry.Digest, err)
	}
	return len(raw), nil
}

func linkReferrers(req *request, filter []string, last digest.Digest) {
	query := url.Values{"last": {last.String()}}
	if len(filter) > 0 {
		query["artifactType"] = filter
	}
	path := repositoryURL(req.route.Name, "referrers", req.route.Digest.String())
	req.w.Header().Set("Link", fmt.Sprintf("<%s?%s>; rel=\"next\"", path, query.Encode()))
}

// candidate may be a referrer: its manifest was not read yet. Annotations of referrers may
// be large, so they are read one after the other and only as far as a page goes.
type candidate struct {
	digest digest.Digest
	// canonical is empty for a child of the index under the fallback tag.
	canonical digest.Digest
}

// candidates merges the links with the index of the fallback tag, ordered by digest.
func (h *Handlers) candidates(req *request) ([]candidate, error) {
	links, err := h.Store.Referrers(req.Context(), req.route.Name, req.route.Digest)
	if err != nil {
		return nil, err
	}
	known := map[digest.Digest]bool{}
	var list []candidate
	for _, link := range links {
		known[link.Digest] = true
		list = append(list, candidate{link.Digest, link.Canonical})
	}
	children, err := h.fallbackChildren(req)
	if err != nil {
		return nil, err
	}
	for _, child := range children {
		if !known[child.Digest] {
			known[child.Digest] = true
			list = append(list, candidate{digest: child.Digest})
		}
	}
	slices.SortFunc(list, func(a, b candidate) int { return strings.Compare(a.digest.String(), b.digest.String()) })
	return list, nil
}

// describe reads the manifest of a candidate; nil when it is no referrer after all.
func (h *Handlers) describe(req *request, c candidate) (*v1.Descriptor, error) {
	ctx := req.Context()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	canonical := c.canonical
	if canonical == "" {
		var err error
		canonical, err = req.scope.Manifest(ctx, c.digest)
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
	parsed, err := h.parsed(ctx, canonical)
	switch {
	case err != nil:
		return nil, err
	case parsed == nil && c.canonical != "":
		return nil, h.dropReferrer(ctx, req, c)
	case parsed == nil, c.canonical == "" && (parsed.Subject == nil || parsed.Subject.Digest != req.route.Digest):
		return nil, nil
	}
	return &v1.Descriptor{
		MediaType: parsed.MediaType, Digest: c.digest, Size: int64(len(parsed.Raw)),
		Annotations: parsed.Annotations, ArtifactType: parsed.EffectiveArtifactType(),
	}, nil
}

// dropReferrer removes the entry of a manifest that is gone, unless it was pushed again in
// this moment.
func (h *Handlers) dropReferrer(ctx context.Context, req *request, c candidate) error {
	if h.Options.ReadOnly {
		return nil
	}
	return h.Store.Unlink(ctx, req.route.Name, func(u *store.Unlinking) error {
		stored, err := h.Store.Stored(ctx, c.canonical)
		if err != nil || stored {
			return err
		}
		return u.RemoveReferrer(ctx, req.route.Digest, c.digest)
	})
}

// fallbackChildren returns the children of the index that clients without this API keep
// under the tag <algorithm>-<hex>.
func (h *Handlers) fallbackChildren(req *request) ([]v1.Descriptor, error) {
	subject := req.route.Digest
	canonical, err := req.scope.Tag(req.Context(), subject.Algorithm().String()+"-"+subject.Encoded()[:64])
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	index, err := h.parsed(req.Context(), canonical)
	if err != nil || index == nil {
		return nil, err
	}
	return index.Manifests, nil
}
