package route

import (
	"net/http"
	"strings"

	"image.alauda.io/registry/pkg/registry/apierror"

	"github.com/opencontainers/go-digest"
)

const (
	adminPath   = "/admin/"
	adminGCPath = adminPath + "gc"
)

// parseAdmin reads what follows /admin/.
func parseAdmin(rest string) (Route, error) {
	noun, last, found := strings.Cut(rest, "/")
	switch {
	case !found || strings.Contains(last, "/"):
		return Route{Kind: Unknown}, nil
	case noun == "blobs":
		return parseAdminBlob(last)
	case noun == "gc" && uuidPattern.MatchString(last):
		return Route{Kind: AdminGCReport, CollectionID: last}, nil
	}
	return Route{Kind: Unknown}, nil
}

// parseAdminBlob takes canonical digests only: an alias means something in a repository
// alone.
func parseAdminBlob(text string) (Route, error) {
	d, err := ParseDigest(text)
	if err == nil && d.Algorithm() != digest.SHA256 {
		err = apierror.New(http.StatusBadRequest, apierror.CodeDigestInvalid, "only sha256 digests name content of the storage")
	}
	return Route{Kind: AdminBlob, Digest: d}, err
}
