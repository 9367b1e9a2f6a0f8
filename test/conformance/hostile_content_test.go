package conformance

import (
	"fmt"
	"strings"
	"testing"
)

const foreignLayer = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

// elsewhereURL adds an address to a descriptor.
func elsewhereURL(descriptor string) string {
	return strings.Replace(descriptor, "}", `,"urls":["https://files.test/x"]}`, 1)
}

// Whoever knows the digest of another tenant's blob and may push must not read it, whatever role his manifest gives
// to the digest. Complaint 31.
func TestMentionedContentOfOthersStaysUnreadable(t *testing.T) {
	e := start(t)
	secret := []byte("layer of another tenant")
	d := e.pushBlob("elsewhere/app", secret, otherToken)
	e.pushBlob(repo, []byte("{}"))
	config, layer := descriptor(ociConfig, []byte("{}")), descriptor(ociLayer, secret)
	foreign := elsewhereURL(descriptor(foreignLayer, secret))
	document := func(config, layers string) []byte {
		return []byte(fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[%s]}`, config, layers))
	}
	e.putManifest(repo, "foreign", document(config, foreign), ociManifest).want(201)
	e.putManifest(repo, "config", document(foreign, ""), ociManifest).want(400, "MANIFEST_BLOB_UNKNOWN")
	e.putManifest(repo, "both", document(config, foreign+","+layer), ociManifest).want(400, "MANIFEST_BLOB_UNKNOWN")
	e.get("/v2/team/app/blobs/"+d).want(404, "BLOB_UNKNOWN")
	e.head("/v2/team/app/blobs/" + d).want(404)
	e.do(call{method: "POST", path: "/v2/team/other/blobs/uploads/?mount=" + d + "&from=team/app"}).want(202)
	e.putManifest(repo, "ordinary", document(config, layer), ociManifest).want(400, "MANIFEST_BLOB_UNKNOWN")
}

// An index that names a digest which nobody has opens nothing when somebody stores a blob with it.
func TestBlobStoredAfterAnIndexNamedItStaysUnreadable(t *testing.T) {
	e := start(t)
	secret := []byte("layer that comes later")
	e.putManifest(repo, "waiting", indexOf(secret), ociIndex).want(201)
	d := e.pushBlob("elsewhere/app", secret, otherToken)
	e.get("/v2/team/app/blobs/"+d).want(404, "BLOB_UNKNOWN")
	e.get("/v2/team/app/manifests/"+d).want(404, "MANIFEST_UNKNOWN")
	document := []byte(fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[]}`, descriptor(ociConfig, secret)))
	e.putManifest(repo, "stolen", document, ociManifest).want(400, "MANIFEST_BLOB_UNKNOWN")
}
