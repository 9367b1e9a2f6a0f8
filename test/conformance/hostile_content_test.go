package conformance

import (
	"fmt"
	"strings"
	"testing"

	imagev1 "image.alauda.io/api/image/v1"
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

// Anybody can write a manifest that names what others have and import it. As the child of a sparse index it becomes
// local; it proves nothing all the same.
func TestImportedChildOfAnIndexOpensNothing(t *testing.T) {
	e := start(t)
	secret := []byte("layer of another tenant")
	d := e.pushBlob("elsewhere/app", secret, otherToken)
	child := []byte(fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[%s]}`, descriptor(ociConfig, []byte("{}")), descriptor(ociLayer, secret)))
	imported := &imagev1.Image{DockerImageLayers: []imagev1.ImageLayer{{Name: d, LayerSize: int64(len(secret))}}}
	imported.Name = digestOf(child)
	e.api.AddImage(imported)
	e.putManifest(repo, "sparse", indexOf(child), ociIndex).want(201)
	e.pushBlob(repo, child)
	e.get("/v2/team/app/blobs/"+d).want(404, "BLOB_UNKNOWN")
}

// The other way round: a copy of a pushed index in another stream is complete, without any link there.
func TestCopyOfAnIndexIsReadable(t *testing.T) {
	e := start(t)
	child := e.image(repo, "child")
	e.putManifest(repo, digestOf(child), child, ociManifest).want(201)
	index := indexOf(child)
	e.putManifest(repo, "multi", index, ociIndex).want(201)
	stream, err := e.api.Stream(t.Context(), appName)
	if err != nil {
		t.Fatal(err)
	}
	stream.Name = "copy"
	stream.Status.Tags[0].Items[0].DockerImageReference = serverAddr + "/team/copy@" + digestOf(index)
	e.api.AddStream(stream)
	e.get("/v2/team/copy/manifests/multi").want(200)
	e.get("/v2/team/copy/manifests/" + digestOf(child)).want(200)
	e.get("/v2/team/copy/blobs/" + digestOf([]byte("layer of child"))).want(200)
}
