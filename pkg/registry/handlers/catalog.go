package handlers

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/imageapi"
	"image.alauda.io/registry/pkg/registry/route"
)

const catalogPage = 100

// catalog lists the repositories that the caller may see: all of them, or those of the
// namespaces in which he may list image streams.
func (h *Handlers) catalog(req *request) error {
	p, err := readPage(req.URL.Query(), catalogPage, h.Options.MaxCatalog)
	if err != nil {
		return err
	}
	names, err := h.API.StreamNames(req.Context())
	if err != nil {
		return imageapi.Unavailable(err)
	}
	sorted, err := h.visible(req.Context(), req.identity, names, p)
	if err != nil {
		return err
	}
	part, more := p.take(sorted)
	if more {
		p.link(req, "/v2/_catalog", part[len(part)-1])
	}
	return writeJSON(req, http.StatusOK, "application/json", map[string]any{"repositories": part})
}

// visible returns the sorted names behind p.last that the caller may see, and stops
// asking for permissions one name after the page is full.
func (h *Handlers) visible(ctx context.Context, identity auth.Identity, names []route.Name, p page) ([]string, error) {
	slices.SortFunc(names, func(a, b route.Name) int { return strings.Compare(a.String(), b.String()) })
	everything, err := h.Authorizer.Authorize(ctx, identity, auth.ListStreams(""))
	if err != nil {
		return nil, reviewFailed(err)
	}
	var seen []string
	for _, name := range names {
		text := name.String()
		if p.last != "" && text <= p.last {
			continue
		}
		if !everything.Allowed {
			decision, err := h.Authorizer.Authorize(ctx, identity, auth.ListStreams(name.Namespace))
			if err != nil {
				return nil, reviewFailed(err)
			}
			if !decision.Allowed {
				continue
			}
		}
		if seen = append(seen, text); len(seen) > p.size {
			break
		}
	}
	return seen, nil
}
