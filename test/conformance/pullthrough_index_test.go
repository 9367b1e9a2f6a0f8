package conformance

import (
	"fmt"
	"net/http"
	"testing"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/store"
	"image.alauda.io/registry/test/secondregistry"

	"github.com/opencontainers/go-digest"
)

// pushElsewhere pushes an image into elsewhere/app and returns its manifest and its layer.
func (e *env) pushElsewhere(text string) (raw, layer []byte) {
	e.t.Helper()
	config := fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","author":%q}`, text)
	layer = []byte("layer of " + text)
	raw = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, ociManifest,
		descriptor(ociConfig, config), descriptor(ociLayer, layer))
	e.pushBlob("elsewhere/app", config, otherToken)
	e.pushBlob("elsewhere/app", layer, otherToken)
	e.do(call{method: "PUT", path: "/v2/elsewhere/app/manifests/v1", body: raw, token: otherToken, header: map[string]string{"Content-Type": ociManifest}}).want(201)
	return raw, layer
}

// importFrom gives the stream team/trap a tag that shows a manifest of a source.
func (e *env) importFrom(source *secondregistry.Registry, raw []byte) {
	e.t.Helper()
	source.Document("/v2/evil/manifests/"+digestOf(raw), ociManifest, nil, raw)
	stream := &imagev1.ImageStream{ObjectMeta: objectMeta("team", "trap")}
	stream.Annotations = map[string]string{imagev1.InsecureRepositoryAnnotation: "true"}
	stream.Status.Tags = []imagev1.NamedTagEventList{{Tag: "import", Items: []imagev1.TagEvent{{
		Image: digestOf(raw), DockerImageReference: source.Host + "/evil@" + digestOf(raw),
	}}}}
	e.api.AddStream(stream)
}

// Behaviours 25 and 76a: whoever knows a manifest of others can serve it and import it. An
// index that names it then must not make it his own.
func TestAnIndexDoesNotOpenWhatItsChildWasImportedFor(t *testing.T) {
	for name, nested := range map[string]bool{"child": false, "child of a child": true} {
		t.Run(name, func(t *testing.T) {
			e := start(t, reachable)
			hidden, layer := e.pushElsewhere("hidden")
			evil := secondregistry.Start(t, secondregistry.Options{})
			e.importFrom(evil, hidden)
			e.get("/v2/team/trap/manifests/" + digestOf(hidden)).want(200)
			index := indexOf(hidden)
			if nested {
				index = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, ociIndex, descriptor(ociIndex, index))
				e.putManifest("team/trap", digestOf(indexOf(hidden)), indexOf(hidden), ociIndex)
			}
			e.putManifest("team/trap", "mine", index, ociIndex)
			blob := "/v2/team/trap/blobs/" + digestOf(layer)
			e.get(blob).want(404, "BLOB_UNKNOWN")
			e.head(blob).want(404)
			if d := digest.Digest(digestOf(layer)); e.linked("team/trap", store.Layers, d) {
				t.Error("the layer of others was linked")
			}
		})
	}
}

// Behaviours 23 and 25: an index may name an imported image whose source has all of it.
func TestAnIndexMayNameAnImportedImage(t *testing.T) {
	e := start(t, reachable)
	hidden, layer := e.pushElsewhere("shared")
	source := secondregistry.Start(t, secondregistry.Options{})
	config := source.PushBlob(t, "evil", ociConfig, fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","author":%q}`, "shared"))
	source.PushBlob(t, "evil", ociLayer, layer)
	e.importFrom(source, hidden)
	e.get("/v2/team/trap/manifests/" + digestOf(hidden)).want(200)
	e.putManifest("team/trap", "mine", indexOf(hidden), ociIndex).want(http.StatusCreated)
	source.Fail("", "/v2/**", 503)
	for _, d := range []string{config.Digest.String(), digestOf(layer)} {
		e.get("/v2/team/trap/blobs/" + d).want(200)
	}
}

// A nested index that came before its child proves nothing of it, whenever it is named again.
func TestAnIndexOfAnIndexDoesNotOpenWhatCameLater(t *testing.T) {
	e := start(t)
	config := []byte(`{"architecture":"amd64","os":"linux","author":"later"}`)
	later := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, ociManifest,
		descriptor(ociConfig, config), descriptor(ociLayer, []byte("layer of later")))
	inner := indexOf(later)
	e.putManifest("team/trap", digestOf(inner), inner, ociIndex).want(201)
	_, layer := e.pushElsewhere("later")
	outer := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, ociIndex, descriptor(ociIndex, inner))
	e.putManifest("team/trap", "mine", outer, ociIndex)
	e.get("/v2/team/trap/blobs/"+digestOf(layer)).want(404, "BLOB_UNKNOWN")
	e.get("/v2/team/trap/manifests/"+digestOf(later)).want(404, "MANIFEST_UNKNOWN")
}
