package registry

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
)

// manifestTypes are what a manifest of an image may be.
var manifestTypes = strings.Join([]string{
	"application/vnd.oci.image.manifest.v1+json",
	"application/vnd.oci.image.index.v1+json",
	"application/vnd.docker.distribution.manifest.v2+json",
	"application/vnd.docker.distribution.manifest.list.v2+json",
}, ", ")

// Manifest reads a manifest and makes sure that it has its digest.
func (c *Client) Manifest(ctx context.Context, repository string, id digest.Digest) ([]byte, error) {
	r := request{method: http.MethodGet, path: "/v2/" + repository + "/manifests/" + id.String(), accept: manifestTypes}
	got, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	if got.status != http.StatusOK {
		return nil, refusal(r, got)
	}
	if actual := id.Algorithm().FromBytes(got.body); actual != id {
		return nil, fmt.Errorf("GET %s: the registry sent a manifest with the digest %s", r.path, actual)
	}
	return got.body, nil
}
