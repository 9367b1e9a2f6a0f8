// Package route reads the path of a request.
//
// In goes the URL as the client sent it; out comes a Route: which noun is meant and
// the checked name, tag, digest or upload id in it. The tail of the path decides the
// noun and everything before it is the repository, so that "team/blobs" is a legal
// repository. Paths are never cleaned and never redirected, and whatever could leave
// the grammar (encoded slashes, empty or dot segments) is refused here, before any
// storage path is built.
//
// It knows nothing of methods' permissions and reads nothing but the path.
package route

import (
	"net/http"
	"net/url"
	"strings"

	"image.alauda.io/registry/pkg/registry/apierror"

	"github.com/opencontainers/go-digest"
)

// Kind is the noun that a path means. Its text labels metrics and log lines.
type Kind string

// The kinds of routes.
const (
	Unknown          Kind = "unknown"
	Base             Kind = "base"
	Catalog          Kind = "catalog"
	Tags             Kind = "tags"
	Manifest         Kind = "manifest"
	Blob             Kind = "blob"
	UploadStart      Kind = "blob-upload"
	Upload           Kind = "blob-upload-chunk"
	Referrers        Kind = "referrers"
	Signatures       Kind = "signatures"
	AdminBlob        Kind = "admin-blob"
	AdminGC          Kind = "admin-gc"
	AdminGCReport    Kind = "admin-gc-report"
	Token            Kind = "token"
	Metrics          Kind = "metrics"
	Root             Kind = "root"
	Live             Kind = "livez"
	Ready            Kind = "readyz"
	tokenPath             = "/alauda/token"
	metricsPath           = "/metrics"
	extensionsPrefix      = "/extensions/v2/"
	metricsAlias          = extensionsPrefix + "metrics"
	maxPathLength         = 4096
)

// Route is a checked path.
type Route struct {
	Kind Kind
	// Name is the repository, zero for routes without one.
	Name Name
	// Tag and Digest: one of them for Manifest; Digest for Blob, Referrers, Signatures
	// and AdminBlob.
	Tag    string
	Digest digest.Digest
	// UploadID of an Upload is the text of a UUID.
	UploadID string
	// CollectionID of an AdminGCReport is the text of a UUID.
	CollectionID string
}

// Reference returns the tag or digest as it stood in the path.
func (r Route) Reference() string {
	if r.Tag != "" {
		return r.Tag
	}
	return r.Digest.String()
}

// Methods returns what the route answers, for the Allow header.
func (r Route) Methods() []string {
	switch r.Kind {
	case Manifest:
		return []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete}
	case Blob:
		return []string{http.MethodGet, http.MethodHead, http.MethodDelete}
	case UploadStart:
		return []string{http.MethodPost}
	case Upload:
		return []string{http.MethodGet, http.MethodHead, http.MethodPatch, http.MethodPut, http.MethodDelete}
	case Signatures:
		return []string{http.MethodGet, http.MethodPut}
	case AdminBlob:
		return []string{http.MethodDelete}
	case AdminGC:
		return []string{http.MethodPost}
	case Token:
		return []string{http.MethodGet, http.MethodPost}
	case Catalog, Tags, Metrics, AdminGCReport:
		return []string{http.MethodGet}
	default:
		return []string{http.MethodGet, http.MethodHead}
	}
}

// Parse reads the path. serverAddr counts for the length limit of names. A path of
// no route gives the Kind Unknown without an error; a path of a route with a part
// that breaks its grammar gives that route's Kind and an *apierror.Error.
func Parse(u *url.URL, serverAddr string) (Route, error) {
	switch u.Path {
	case "/":
		return Route{Kind: Root}, nil
	case "/livez":
		return Route{Kind: Live}, nil
	case "/readyz", "/healthz":
		return Route{Kind: Ready}, nil
	case metricsPath, metricsAlias:
		return Route{Kind: Metrics}, nil
	case tokenPath:
		return Route{Kind: Token}, nil
	case "/v2", "/v2/":
		return Route{Kind: Base}, nil
	case "/v2/_catalog":
		return Route{Kind: Catalog}, nil
	case adminGCPath:
		return Route{Kind: AdminGC}, nil
	}
	if rest, found := strings.CutPrefix(u.Path, adminPath); found {
		return parseAdmin(rest)
	}
	rest, found := strings.CutPrefix(u.Path, "/v2/")
	extension := false
	if !found {
		rest, extension = strings.CutPrefix(u.Path, extensionsPrefix)
	}
	if !found && !extension {
		return Route{Kind: Unknown}, nil
	}
	if strings.Contains(strings.ToLower(u.EscapedPath()), "%2f") || len(u.Path) > maxPathLength {
		return Route{Kind: Unknown}, invalidName("the path has an encoded slash or is too long")
	}
	find := tail
	if extension {
		find = extensionTail
	}
	return parseRepository(strings.Split(rest, "/"), serverAddr, find)
}

// parseRepository anchors the noun at the end of the path.
func parseRepository(segments []string, serverAddr string, find func([]string) (Route, []string)) (Route, error) {
	route, name := find(segments)
	if route.Kind == Unknown {
		if hasBadSegment(segments) {
			return route, invalidName("the path has an empty segment or a segment of dots")
		}
		return route, nil
	}
	if hasBadSegment(name) {
		return route, invalidName("the path has an empty segment or a segment of dots")
	}
	var err error
	if route.Name, err = ParseName(strings.Join(name, "/"), serverAddr); err != nil {
		return route, err
	}
	return route, route.checkTail(segments[len(segments)-1])
}

// tail finds the noun and the segments of the name before it.
func tail(segments []string) (Route, []string) {
	n := len(segments)
	at := func(i int) string {
		if n+i < 0 {
			return ""
		}
		return segments[n+i]
	}
	switch {
	case at(-2) == "tags" && at(-1) == "list":
		return Route{Kind: Tags}, segments[:n-2]
	case at(-2) == "manifests":
		return Route{Kind: Manifest}, segments[:n-2]
	case at(-2) == "blobs" && at(-1) == "uploads":
		return Route{Kind: UploadStart}, segments[:n-2]
	case at(-3) == "blobs" && at(-2) == "uploads" && at(-1) == "":
		return Route{Kind: UploadStart}, segments[:n-3]
	case at(-3) == "blobs" && at(-2) == "uploads":
		return Route{Kind: Upload}, segments[:n-3]
	case at(-2) == "blobs":
		return Route{Kind: Blob}, segments[:n-2]
	case at(-2) == "referrers":
		return Route{Kind: Referrers}, segments[:n-2]
	}
	return Route{Kind: Unknown}, nil
}

// extensionTail is tail for what stands below /extensions/v2.
func extensionTail(segments []string) (Route, []string) {
	if n := len(segments); n >= 2 && segments[n-2] == "signatures" {
		return Route{Kind: Signatures}, segments[:n-2]
	}
	return Route{Kind: Unknown}, nil
}

// checkTail reads the last segment of the nouns that have a parameter.
func (r *Route) checkTail(last string) (err error) {
	switch r.Kind {
	case Manifest:
		if strings.Contains(last, ":") {
			r.Digest, err = ParseDigest(last)
		} else {
			r.Tag, err = ParseTag(last)
		}
	case Blob, Referrers, Signatures:
		r.Digest, err = ParseDigest(last)
	case Upload:
		id := strings.ToLower(last)
		if !uuidPattern.MatchString(id) {
			return apierror.New(http.StatusNotFound, apierror.CodeBlobUploadUnknown, "upload is not known to the registry")
		}
		r.UploadID = id
	}
	return err
}

func hasBadSegment(segments []string) bool {
	for _, segment := range segments {
		if segment == "" || segment == "." || segment == ".." {
			return true
		}
	}
	return false
}
