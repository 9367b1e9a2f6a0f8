package handlers

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/imageapi"
	"image.alauda.io/registry/pkg/registry/streams"

	"golang.org/x/sync/errgroup"
)

const (
	catalogPage = 100
	// catalogReviews bounds the reviews of namespaces that run at the same time, for all
	// lists together: somebody who may see nothing causes one for each namespace.
	catalogReviews = 10
	// catalogNamespaces bounds the namespaces that one request looks at. Who may see nothing
	// of twenty thousand gets short pages, each with a way on, and no request runs for minutes.
	catalogNamespaces = 1000
)

// Catalog decides which namespaces a list of repositories shows to whom.
type Catalog struct {
	// Authorizer remembers decisions about namespaces longer than others are remembered,
	// because one page may need thousands of them.
	Authorizer *auth.Authorizer

	running chan struct{}
}

// NewCatalog returns a Catalog that asks an authorizer.
func NewCatalog(authorizer *auth.Authorizer) *Catalog {
	return &Catalog{Authorizer: authorizer, running: make(chan struct{}, catalogReviews)}
}

// catalog lists the repositories that the caller may see: all of them, or those of the
// namespaces in which he may list image streams.
func (h *Handlers) catalog(req *request) error {
	p, err := readPage(req.URL.Query(), catalogPage, h.Options.MaxCatalog)
	if err != nil {
		return err
	}
	ctx := req.Context()
	everything, err := h.Authorizer.Authorize(ctx, req.identity, auth.ListStreams(""))
	if err != nil {
		return reviewFailed(err)
	}
	names, err := h.Streams.Names(ctx)
	if err != nil {
		return imageapi.Unavailable(err)
	}
	var seen []string
	next := ""
	switch {
	case p.size == 0:
	case everything.Allowed:
		seen = names.After(p.last, p.size+1)
	default:
		seen, next, err = h.Catalog.visible(ctx, req.identity, names, p)
	}
	if err != nil {
		return err
	}
	part, more := p.take(seen)
	if more {
		next = part[len(part)-1]
	}
	if next != "" {
		p.link(req, "/v2/_catalog", next)
	}
	return writeJSON(req, http.StatusOK, "application/json", map[string]any{"repositories": part})
}

// visible returns the names behind p.last that the caller may see, namespace by namespace,
// until one more than the page holds is found. next is where to go on when it stopped for
// the number of namespaces.
func (c *Catalog) visible(ctx context.Context, identity auth.Identity, names streams.Names, p page) (seen []string, next string, err error) {
	last := p.last
	for looked := 0; len(seen) <= p.size; {
		namespaces := names.NamespacesAfter(last, catalogReviews)
		if len(namespaces) == 0 {
			return seen, "", nil
		}
		if looked += len(namespaces); looked > catalogNamespaces {
			return seen, last, nil
		}
		allowed, err := c.review(ctx, identity, namespaces)
		if err != nil {
			return nil, "", err
		}
		for i, namespace := range namespaces {
			if allowed[i] {
				seen = append(seen, ofNamespace(names, namespace, last, p.size+1-len(seen))...)
			}
			last = max(last, streams.PastNamespace(namespace))
		}
	}
	return seen, "", nil
}

// ofNamespace returns names of one namespace that are greater than last.
func ofNamespace(names streams.Names, namespace, last string, limit int) []string {
	prefix := namespace + "/"
	list := names.After(max(last, prefix), limit)
	for i, name := range list {
		if !strings.HasPrefix(name, prefix) {
			return list[:i]
		}
	}
	return list
}

// review asks about several namespaces at once.
func (c *Catalog) review(ctx context.Context, identity auth.Identity, namespaces []string) ([]bool, error) {
	allowed := make([]bool, len(namespaces))
	group, ctx := errgroup.WithContext(ctx)
	for i, namespace := range namespaces {
		group.Go(func() error {
			select {
			case c.running <- struct{}{}:
				defer func() { <-c.running }()
			case <-ctx.Done():
				return reviewFailed(errors.Join(errors.New("waiting for a review"), ctx.Err()))
			}
			decision, err := c.Authorizer.Authorize(ctx, identity, auth.ListStreams(namespace))
			if err != nil {
				return reviewFailed(err)
			}
			allowed[i] = decision.Allowed
			return nil
		})
	}
	return allowed, group.Wait()
}
