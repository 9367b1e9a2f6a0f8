package handlers

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/route"
)

// equal compares secrets in constant time.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// writeJSON sends a document with its length; HEAD gets the headers.
func writeJSON(req *request, status int, contentType string, document any) error {
	body, err := json.Marshal(document)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return writeBytes(req, status, contentType, body)
}

func writeBytes(req *request, status int, contentType string, body []byte) error {
	header := req.w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	req.w.WriteHeader(status)
	if req.Method == http.MethodHead {
		return nil
	}
	if _, err := req.w.Write(body); err != nil {
		return fmt.Errorf("%w: %w", ErrClientGone, err)
	}
	return nil
}

// empty sends a status without a body.
func empty(req *request, status int) error {
	if status != http.StatusNoContent {
		req.w.Header().Set("Content-Length", "0")
	}
	req.w.WriteHeader(status)
	return nil
}

// location makes a Location: relative unless an absolute one is configured, because a
// proxy that drops X-Forwarded-Proto would otherwise lead to http.
func (h *Handlers) location(req *request, path string) string {
	switch {
	case h.Options.Host != "":
		return strings.TrimSuffix(h.Options.Host, "/") + path
	case h.Options.RelativeURLs:
		return path
	}
	return auth.RequestOrigin(req.Request, h.Options.ServerAddr) + path
}

func repositoryURL(name route.Name, parts ...string) string {
	return "/v2/" + name.String() + "/" + strings.Join(parts, "/")
}

// page is a request for a part of a sorted list.
type page struct {
	// size is the number of entries, -1 for all.
	size int
	last string
}

// readPage reads n and last. Without n the size is standard; larger ones are cut.
func readPage(query url.Values, standard, maximum int) (page, error) {
	p := page{size: standard, last: query.Get("last")}
	text := query.Get("n")
	if text == "" {
		return p, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil && isHugeNumber(text) {
		n, err = maximum, nil
	}
	if err != nil || n < 0 {
		return p, apierror.New(http.StatusBadRequest, apierror.CodePaginationNumberInvalid, "n must be a number that is not negative").
			WithDetail(map[string]string{"n": cut(text)})
	}
	p.size = min(n, maximum)
	return p, nil
}

func isHugeNumber(text string) bool { return text != "" && strings.Trim(text, "0123456789") == "" }

func cut(text string) string {
	if len(text) > 64 {
		return text[:64]
	}
	return text
}

// take returns the part of a sorted list and whether there is more behind it.
func (p page) take(sorted []string) (part []string, more bool) {
	part = []string{}
	for _, entry := range sorted {
		if p.last != "" && entry <= p.last {
			continue
		}
		if p.size >= 0 && len(part) == p.size {
			return part, p.size > 0
		}
		part = append(part, entry)
	}
	return part, false
}

// link announces the next page.
func (p page) link(req *request, path, last string) {
	query := url.Values{"n": {strconv.Itoa(p.size)}, "last": {last}}
	req.w.Header().Set("Link", fmt.Sprintf("<%s?%s>; rel=\"next\"", path, query.Encode()))
}
