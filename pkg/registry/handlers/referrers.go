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

	"image.alauda.io/registry/pkg/oci/manifest"
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
	found, err := h.findReferrers(req)
	if err != nil {
		return err
	}
	index := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{}}
	size := 0
	for _, entry := range found {
		if len(filter) > 0 && !slices.Contains(filter, entry.ArtifactType) {
			continue
		}
		if last := query.Get("last"); last != "" && entry.Digest.String() <= last {
			continue
		}
		raw, err := json.Marshal(entry)
		if err != nil {
			return fmt.Errorf("referrer %s: %w", entry.Digest, err)
		}
		full := len(index.Manifests) == referrersPage || size+len(raw) > referrersBytes
		if full && len(index.Manifests) > 0 {
			linkReferrers(req, filter, index.Manifests[len(index.Manifests)-1].Digest)
			break
		}
		size += len(raw)
		index.Manifests = append(index.Manifests, entry)
	}
	if len(filter) > 0 {
		req.w.Header().Set("Oci-Filters-Applied", "artifactType")
	}
	return writeJSON(req, http.StatusOK, v1.MediaTypeImageIndex, index)
}

func linkReferrers(req *request, filter []string, last digest.Digest) {
	query := url.Values{"last": {last.String()}}
	if len(filter) > 0 {
		query["artifactType"] = filter
	}
	path := repositoryURL(req.route.Name, "referrers", req.route.Digest.String())
	req.w.Header().Set("Link", fmt.Sprintf("<%s?%s>; rel=\"next\"", path, query.Encode()))
}

// findReferrers merges the links with the index of the fallback tag, ordered by digest.
func (h *Handlers) findReferrers(req *request) ([]v1.Descriptor, error) {
	ctx := req.Context()
	links, err := h.Store.Referrers(ctx, req.route.Name, req.route.Digest)
	if err != nil {
		return nil, err
	}
	byDigest := map[digest.Digest]v1.Descriptor{}
	for _, link := range links {
		parsed, err := h.parsed(ctx, link.Canonical)
		if err != nil {
			return nil, err
		}
		if parsed == nil {
			if err := h.dropReferrer(ctx, req, link); err != nil {
				return nil, err
			}
			continue
		}
		byDigest[link.Digest] = describeReferrer(link.Digest, parsed)
	}
	if err := h.fallbackReferrers(req, byDigest); err != nil {
		return nil, err
	}
	list := make([]v1.Descriptor, 0, len(byDigest))
	for _, descriptor := range byDigest {
		list = append(list, descriptor)
	}
	slices.SortFunc(list, func(a, b v1.Descriptor) int { return strings.Compare(a.Digest.String(), b.Digest.String()) })
	return list, nil
}

// dropReferrer removes the entry of a manifest that is gone.
func (h *Handlers) dropReferrer(ctx context.Context, req *request, link store.Referrer) error {
	if h.Options.ReadOnly {
		return nil
	}
	return h.Store.RemoveReferrer(ctx, req.route.Name, req.route.Digest, link.Digest)
}

func describeReferrer(d digest.Digest, m *manifest.Manifest) v1.Descriptor {
	return v1.Descriptor{
		MediaType: m.MediaType, Digest: d, Size: int64(len(m.Raw)),
		Annotations: m.Annotations, ArtifactType: m.EffectiveArtifactType(),
	}
}

// fallbackReferrers adds the children of the index that clients without this API keep
// under the tag <algorithm>-<hex>. A child counts if it names the subject.
func (h *Handlers) fallbackReferrers(req *request, byDigest map[digest.Digest]v1.Descriptor) error {
	ctx, subject := req.Context(), req.route.Digest
	tag := subject.Algorithm().String() + "-" + subject.Encoded()[:64]
	canonical, err := req.scope.Tag(ctx, tag)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	index, err := h.parsed(ctx, canonical)
	if err != nil || index == nil {
		return err
	}
	for _, child := range index.Manifests {
		if _, known := byDigest[child.Digest]; known {
			continue
		}
		own, err := req.scope.Manifest(ctx, child.Digest)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		parsed, err := h.parsed(ctx, own)
		if err != nil {
			return err
		}
		if parsed != nil && parsed.Subject != nil && parsed.Subject.Digest == subject {
			byDigest[child.Digest] = describeReferrer(child.Digest, parsed)
		}
	}
	return nil
}
