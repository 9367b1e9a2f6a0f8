package handlers

import "net/http"

// tags lists the tags of the stream that have a history.
func (h *Handlers) tags(req *request) error {
	p, err := readPage(req.URL.Query(), -1, h.Options.MaxTags)
	if err != nil {
		return err
	}
	sorted, err := req.scope.Tags(req.Context())
	if err != nil {
		return err
	}
	part, more := p.take(sorted)
	if more {
		p.link(req, repositoryURL(req.route.Name, "tags", "list"), part[len(part)-1])
	}
	return writeJSON(req, http.StatusOK, "application/json", map[string]any{"name": req.route.Name.String(), "tags": part})
}
