package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"image.alauda.io/api/image/reference"
	"image.alauda.io/registry/pkg/oci/manifest"

	"github.com/opencontainers/go-digest"
)

const (
	digestHeader = "Docker-Content-Digest"
	tagPage      = 1000
	// maxTagPages ends a list of pages that add next to nothing.
	maxTagPages = 1000
)

func (s *source) manifestRequest(method, tagOrDigest string) request {
	separator := ":"
	if strings.Contains(tagOrDigest, ":") {
		separator = "@"
	}
	return request{
		method: method, path: "/v2/" + s.path + "/manifests/" + tagOrDigest, what: s.name() + separator + tagOrDigest,
		header: http.Header{"Accept": {strings.Join(manifest.MediaTypes(), ", ")}},
	}
}

func (s *source) manifest(ctx context.Context, tagOrDigest string) (*Manifest, error) {
	r := s.manifestRequest(http.MethodGet, tagOrDigest)
	reply, err := s.do(ctx, r, s.client.options.Limits.Manifest)
	if err != nil {
		return nil, err
	}
	found := &Manifest{Content: reply.body, Source: s.name()}
	found.Digest, found.Size = manifest.Canonical(reply.body), int64(len(reply.body))
	found.MediaType = manifest.BaseMediaType(reply.header.Get("Content-Type"))
	if wanted, err := manifest.ParseDigest(tagOrDigest); err == nil {
		found.Digest = wanted
	}
	for _, announced := range []string{found.Digest.String(), reply.header.Get(digestHeader)} {
		parsed, err := manifest.ParseDigest(announced)
		if err == nil && manifest.Verify(reply.body, parsed) != nil {
			return nil, integrity(s.host, r.what, "the registry sent something with another digest")
		}
	}
	return found, nil
}

func (s *source) head(ctx context.Context, tagOrDigest string) (Descriptor, error) {
	r := s.manifestRequest(http.MethodHead, tagOrDigest)
	reply, err := s.do(ctx, r, 0)
	if err != nil && !errorsInHead(err) {
		return Descriptor{}, err
	}
	if err == nil {
		announced, parseErr := manifest.ParseDigest(reply.header.Get(digestHeader))
		if parseErr == nil {
			wanted, byDigest := manifest.ParseDigest(tagOrDigest)
			if byDigest == nil && wanted.Algorithm() == announced.Algorithm() && wanted != announced {
				return Descriptor{}, integrity(s.host, r.what, "the registry announces another digest")
			}
			if byDigest == nil {
				announced = wanted
			}
			return Descriptor{
				Digest: announced, Size: reply.length, MediaType: manifest.BaseMediaType(reply.header.Get("Content-Type")),
			}, nil
		}
	}
	full, err := s.manifest(ctx, tagOrDigest)
	if err != nil {
		return Descriptor{}, err
	}
	return full.Descriptor, nil
}

// errorsInHead tells whether a failed HEAD says little about the manifest: some registries do not
// support the method.
func errorsInHead(err error) bool { return KindOf(err) == Internal }

func (s *source) blobRequest(method string, wanted digest.Digest) request {
	return request{method: method, path: "/v2/" + s.path + "/blobs/" + wanted.String(), what: "blob " + wanted.String() + " of " + s.name()}
}

func (s *source) blob(ctx context.Context, wanted digest.Digest, limit int64) ([]byte, error) {
	r := s.blobRequest(http.MethodGet, wanted)
	reply, err := s.do(ctx, r, limit)
	if err != nil {
		return nil, err
	}
	if manifest.Verify(reply.body, wanted) != nil {
		return nil, integrity(s.host, r.what, "its content does not have this digest")
	}
	return reply.body, nil
}

func (s *source) statBlob(ctx context.Context, wanted digest.Digest) (int64, error) {
	reply, err := s.do(ctx, s.blobRequest(http.MethodHead, wanted), 0)
	if err != nil {
		return 0, err
	}
	return reply.length, nil
}

func (s *source) openBlob(ctx context.Context, wanted digest.Digest, byteRange string) (*Blob, error) {
	r := s.blobRequest(http.MethodGet, wanted)
	r.streams = true
	if byteRange != "" {
		r.header = http.Header{"Range": {byteRange}}
	}
	reply, err := s.do(ctx, r, 0)
	if err != nil {
		return nil, err
	}
	found := &Blob{Body: reply.stream, Size: reply.length, Source: s.name()}
	if reply.status == http.StatusPartialContent {
		found.ContentRange = reply.header.Get("Content-Range")
		found.Size = rangeTotal(found.ContentRange)
		return found, nil
	}
	found.Body = newVerifying(reply.stream, s.host, r.what, wanted)
	return found, nil
}

// rangeTotal reads the size of the whole from a Content-Range header, -1 when it does not say.
func rangeTotal(header string) int64 {
	_, total, _ := strings.Cut(header, "/")
	if size, err := strconv.ParseInt(strings.TrimSpace(total), 10, 64); err == nil && size >= 0 {
		return size
	}
	return -1
}

// tags reads page after page. Of the address of the next page only the query is used: a registry does
// not send this client elsewhere.
func (s *source) tags(ctx context.Context, limit int) ([]string, error) {
	var found []string
	seen := map[string]bool{}
	asked := map[string]bool{}
	query := url.Values{"n": {strconv.Itoa(tagPage)}}
	for range maxTagPages {
		asked[query.Encode()] = true
		page, next, err := s.tagPage(ctx, query)
		if err != nil {
			return nil, err
		}
		for _, tag := range page {
			if seen[tag] {
				continue
			}
			seen[tag] = true
			if found = append(found, tag); len(found) == limit {
				return found, nil
			}
		}
		if next == nil || asked[next.Encode()] {
			break
		}
		query = next
	}
	return found, nil
}

func (s *source) tagPage(ctx context.Context, query url.Values) (tags []string, next url.Values, err error) {
	r := request{method: http.MethodGet, path: "/v2/" + s.path + "/tags/list", query: query, what: "repository " + s.name()}
	reply, err := s.do(ctx, r, s.client.options.Limits.TagPage)
	if err != nil {
		return nil, nil, err
	}
	page, err := parseTags(reply.body, s.client.options.Limits.Tags)
	if err != nil {
		return nil, nil, &Error{Kind: Internal, Host: s.host, Message: r.what + ": its list of tags cannot be read"}
	}
	return page, nextPage(reply.header.Values("Link")), nil
}

// parseTags reads a page, at most limit valid tags of it. What a page says in two bytes would take many
// times that as a string, so it is read one by one.
func parseTags(body []byte, limit int) ([]string, error) {
	var page struct {
		Tags json.RawMessage `json:"tags"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, err
	}
	if len(page.Tags) == 0 || string(page.Tags) == "null" {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(page.Tags))
	if open, err := decoder.Token(); err != nil || open != json.Delim('[') {
		return nil, errNoTags
	}
	var tags []string
	for decoder.More() && len(tags) < limit {
		token, err := decoder.Token()
		tag, ok := token.(string)
		if err != nil || !ok {
			return nil, errNoTags
		}
		if reference.ValidateTag(tag) == nil {
			tags = append(tags, tag)
		}
	}
	return tags, nil
}

var errNoTags = errors.New("the tags are no list of strings")

// maxPageQuery bounds the address of the next page: those that were asked for are remembered.
const maxPageQuery = 4 << 10

var linkPattern = regexp.MustCompile(`<([^<>]*)>\s*;[^,<]*\brel="?next"?`)

// nextPage returns the query of the link to the next page; nil when there is none.
func nextPage(links []string) url.Values {
	for _, link := range links {
		match := linkPattern.FindStringSubmatch(link)
		if match == nil {
			continue
		}
		target, err := url.Parse(match[1])
		if err != nil || len(target.RawQuery) > maxPageQuery {
			continue
		}
		if query := target.Query(); len(query) > 0 {
			return query
		}
	}
	return nil
}
