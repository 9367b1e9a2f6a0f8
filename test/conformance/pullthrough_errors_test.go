package conformance

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/pullthrough"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"
	"image.alauda.io/registry/test/secondregistry"

	"github.com/opencontainers/go-digest"
)

// simple is a source with one image, imported as team/app:v1.
func (e *env) simple(options secondregistry.Options) (*secondregistry.Registry, digest.Digest, digest.Digest) {
	e.t.Helper()
	source := secondregistry.Start(e.t, options)
	layer := []byte("the only layer of " + e.t.Name())
	image := source.PushImage(e.t, "app", "v1", secondregistry.Image{Layers: [][]byte{layer}})
	e.add(imported{repository: "team/app", tag: "v1", source: source, path: "app", image: image, insecure: true})
	return source, image.Digest, digest.FromBytes(layer)
}

// Behaviour 70.
func TestErrorsOfTheSource(t *testing.T) {
	for name, c := range map[string]struct {
		trouble                func(*secondregistry.Registry, string)
		status                 int
		manifestCode, blobCode string
		text                   string
		retryAfter             string
	}{
		"unknown":    {func(r *secondregistry.Registry, p string) { r.Fail("", p, 404) }, 404, "MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "not found in 127.0.0.1", ""},
		"no login":   {func(r *secondregistry.Registry, p string) { r.Fail("", p, 401) }, 404, "MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "check the pull secrets of namespace team", ""},
		"forbidden":  {func(r *secondregistry.Registry, p string) { r.Fail("", p, 403) }, 404, "MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "was denied", ""},
		"throttled":  {func(r *secondregistry.Registry, p string) { r.Throttle("", p, "90") }, 429, "TOOMANYREQUESTS", "TOOMANYREQUESTS", "allows no more requests", "90"},
		"broken":     {func(r *secondregistry.Registry, p string) { r.Fail("", p, 500) }, 503, "UNAVAILABLE", "UNAVAILABLE", "status 500", "5"},
		"odd status": {func(r *secondregistry.Registry, p string) { r.Fail("", p, 418) }, 503, "UNAVAILABLE", "UNAVAILABLE", "status 418", "5"},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, reachable)
			source, image, layer := e.simple(secondregistry.Options{})
			check := func(answer *reply, code string) {
				t.Helper()
				answer.want(c.status, code)
				if !strings.Contains(answer.message(), c.text) {
					t.Errorf("the message is %q, want something with %q", answer.message(), c.text)
				}
				answer.header("Retry-After", c.retryAfter)
			}
			c.trouble(source, "/v2/app/manifests/**")
			check(e.get("/v2/team/app/manifests/v1"), c.manifestCode)
			if c.status == 429 {
				// The source stays alone for its pause.
				n := len(source.Requests())
				e.get("/v2/team/app/manifests/" + image.String()).want(429)
				if len(source.Requests()) != n {
					t.Error("a source that asked for a pause was asked again")
				}
				return
			}
			c.trouble(source, "/v2/app/blobs/**")
			check(e.get("/v2/team/app/blobs/"+layer.String()), c.blobCode)
			e.head("/v2/team/app/blobs/" + layer.String()).want(c.status)
			source.Recover()
			e.pullCompletely("team/app", "v1")
		})
	}
}

// Behaviour 70: content that is not what it should be is neither given out nor kept.
func TestAHostileSource(t *testing.T) {
	e := start(t, reachable)
	source, image, layer := e.simple(secondregistry.Options{})
	source.Document("/v2/app/manifests/**", ociManifest, nil, []byte(`{"schemaVersion":2}`))
	e.get("/v2/team/app/manifests/v1").want(503, "UNAVAILABLE")
	if e.linked("team/app", store.Revisions, image) {
		t.Error("a manifest with another digest was kept")
	}
	genuine := "the only layer of " + t.Name()
	for name, body := range map[string]string{
		"other content": strings.Repeat("x", len(genuine)), "shorter": genuine[:10], "longer": genuine + "!",
	} {
		source.Document("/v2/app/blobs/**", "application/octet-stream", nil, []byte(body))
		if got, complete := e.readBlob("/v2/team/app/blobs/" + layer.String()); complete {
			t.Errorf("%s: the client got %q as if it were everything", name, got)
		}
		if e.linked("team/app", store.Layers, layer) {
			t.Errorf("%s: it was kept", name)
		}
	}
	// The length is announced and the connection breaks before its end.
	source.Answer("GET", "/v2/app/blobs/**", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(genuine)))
		_, _ = w.Write([]byte(genuine[:5]))
		panic(http.ErrAbortHandler)
	})
	if got, complete := e.readBlob("/v2/team/app/blobs/" + layer.String()); complete {
		t.Errorf("truncated: the client got %q as if it were everything", got)
	}
	source.Recover()
	e.pullCompletely("team/app", "v1")
}

// Behaviour 71.
func TestTheSecondOfTwoCredentialsWorks(t *testing.T) {
	source := secondregistry.Start(t, secondregistry.Options{TLS: true, Users: map[string]string{"reader": "secret"}})
	e := start(t, through("cadirs: ['"+trustOf(t, source)+"']"))
	e.api.AddSecret("team", login("a", source.Host, "reader", "old"))
	e.api.AddSecret("team", login("b", source.Host, "reader", "secret"))
	image := source.PushImage(t, "app", "v1", secondregistry.Image{})
	e.add(imported{repository: "team/app", tag: "v1", source: source, path: "app", image: image})
	e.add(imported{repository: "elsewhere/app", tag: "v1", source: source, path: "app", image: image})
	e.pullCompletely("team/app", "v1")
	if n := e.api.Calls("Secrets"); n != 1 {
		t.Errorf("the secrets were read %d times for one pull", n)
	}
	// The secrets of one namespace are not for another one.
	layer := digest.FromString("layer of linux/amd64 ")
	got := e.do(call{method: "GET", path: "/v2/elsewhere/app/blobs/" + layer.String(), token: otherToken}).want(404, "BLOB_UNKNOWN")
	if !strings.Contains(got.message(), "pull secrets of namespace elsewhere") || strings.Contains(string(got.body), "secret\"") {
		t.Errorf("the message is %q", got.message())
	}
	// Without secrets pulls go on, without them.
	e.api.Fail(func(call string) error {
		if call == "Secrets" {
			return fmt.Errorf("no rights")
		}
		return nil
	})
	e.clock.Step(31e9)
	e.pullCompletely("team/app", "v1")
}

// Behaviour 72.
func TestTheRegistryIsNeverItsOwnSource(t *testing.T) {
	e := start(t, reachable)
	// Whoever listens behind a name of this registry is not asked: the names are enough.
	listening := secondregistry.Start(t, secondregistry.Options{})
	image := listening.PushImage(t, "team/app", "v1", secondregistry.Image{})
	public := strings.Replace(listening.Host, "127.0.0.1", "localhost", 1)
	for i, host := range []string{serverAddr, strings.ToUpper(serverAddr), listening.Host, public} {
		repository := fmt.Sprintf("team/own%d", i)
		e.add(imported{repository: repository, tag: "v1", source: listening, path: "team/app", image: image, insecure: true, host: host})
		stream, err := e.api.Stream(t.Context(), route.Name{Namespace: "team", Stream: fmt.Sprintf("own%d", i)})
		if err != nil {
			t.Fatal(err)
		}
		stream.Status.PublicDockerImageRepository = listening.Host + "/" + repository
		if host == public {
			stream.Status.PublicDockerImageRepository = public + "/" + repository
		}
		e.api.AddStream(stream)
		e.get("/v2/"+repository+"/manifests/v1").want(404, "MANIFEST_UNKNOWN")
		e.get("/v2/"+repository+"/blobs/"+image.Digest.String()).want(404, "BLOB_UNKNOWN")
	}
	if got := listening.Requests(); len(got) > 0 {
		t.Errorf("it was asked: %v", got)
	}
}

// Behaviour 72: two registries that have an image from each other.
func TestACircleOfRegistriesIsBroken(t *testing.T) {
	a, b := start(t, reachable), start(t, reachable, "shared=another secret")
	source := secondregistry.Start(t, secondregistry.Options{})
	image := source.PushImage(t, "team/app", "v1", secondregistry.Image{})
	for _, r := range []struct{ from, to *env }{{a, b}, {b, a}} {
		r.from.add(imported{repository: "team/app", tag: "v1", source: source, path: "team/app", image: image, insecure: true, host: strings.TrimPrefix(r.to.URL, "http://")})
		r.from.api.AddSecret("team", login("peer", strings.TrimPrefix(r.to.URL, "http://"), "dev", devToken))
	}
	a.get("/v2/team/app/manifests/v1").want(503, "UNAVAILABLE")
	// Who was here before is told so at once.
	answer := a.get("/v2/team/app/manifests/v1", pullthrough.HeaderPassed, "https://"+serverAddr+"/v2/team/app?registry="+pullthrough.Installation("shared")).want(503, "UNAVAILABLE")
	if !strings.Contains(answer.message(), "loop detected") {
		t.Errorf("the message is %q", answer.message())
	}
}

// Behaviour 72: a chain is no circle, though all links have the same name for themselves and the image.
func TestAChainOfRegistriesIsNoCircle(t *testing.T) {
	a, b := start(t, reachable), start(t, reachable, "shared=another secret")
	source := secondregistry.Start(t, secondregistry.Options{})
	image := source.PushImage(t, "team/app", "v1", secondregistry.Image{})
	between := strings.TrimPrefix(b.URL, "http://")
	a.add(imported{repository: "team/app", tag: "v1", source: source, path: "team/app", image: image, insecure: true, host: between})
	a.api.AddSecret("team", login("peer", between, "dev", devToken))
	b.add(imported{repository: "team/app", tag: "v1", source: source, path: "team/app", image: image, insecure: true})
	a.pullCompletely("team/app", "v1")
	if !b.linked("team/app", store.Layers, digest.FromString("layer of linux/amd64 ")) {
		t.Error("the registry in between kept nothing")
	}
}

// Behaviour 73.
func TestDeniedNetworksAreNotContacted(t *testing.T) {
	source := secondregistry.Start(t, secondregistry.Options{})
	image := source.PushImage(t, "app", "v1", secondregistry.Image{})
	for settings, status := range map[string]int{
		"ALAUDA=": 404,
		"ALAUDA=, pullthrough: {allowedhosts: ['" + source.Host + "']}": 200,
	} {
		e := start(t, settings)
		source.Forget()
		e.add(imported{repository: "team/app", tag: "v1", source: source, path: "app", image: image, insecure: true})
		e.get("/v2/team/app/manifests/v1").want(status)
		if status != 200 && len(source.Requests()) > 0 {
			t.Error("a denied address was contacted")
		}
	}
}

// Behaviour 74.
func TestOnlyWhatTheStreamContainsIsAskedFor(t *testing.T) {
	e := start(t, reachable)
	source, image, _ := e.simple(secondregistry.Options{})
	other := source.PushBlob(t, "app", "application/octet-stream", []byte("of nobody's image")).Digest
	loose := source.PushImage(t, "app", "", secondregistry.Image{Seed: "loose"}).Digest
	source.Forget()
	e.get("/v2/team/app/blobs/"+other.String()).want(404, "BLOB_UNKNOWN")
	e.head("/v2/team/app/blobs/" + other.String()).want(404)
	e.get("/v2/team/app/manifests/"+loose.String()).want(404, "MANIFEST_UNKNOWN")
	e.get("/v2/team/other/blobs/"+other.String()).want(404, "BLOB_UNKNOWN")
	if got := source.Requests(); len(got) > 0 {
		t.Errorf("the source was asked: %v", got)
	}
	// While it is not known what an image consists of, everything may belong to it.
	e.api.DeleteImage(image.String())
	e.get("/v2/team/app/blobs/" + other.String()).want(200)
}

// Behaviour 75.
func TestMirrorRules(t *testing.T) {
	source, mirror := secondregistry.Start(t, secondregistry.Options{}), secondregistry.Start(t, secondregistry.Options{Users: map[string]string{"reader": "of the mirror"}})
	rule := func(from, policy string) string {
		return fmt.Sprintf("mirrors: [{source: '%s', mirrors: ['%s/copy'], insecure: true, mirrorSourcePolicy: %s}]", from, mirror.Host, policy)
	}
	for _, registry := range []*secondregistry.Registry{source, mirror} {
		registry.PushImage(t, map[*secondregistry.Registry]string{source: "team/app", mirror: "copy/app"}[registry], "v1", secondregistry.Image{})
	}
	image := source.PushImage(t, "team/app", "v1", secondregistry.Image{})
	for name, c := range map[string]struct {
		settings       string
		mirror, source bool
		broken         bool
		status         int
	}{
		"the mirror comes first":          {rule(source.Host+"/team", "AllowContactingSource"), true, false, false, 200},
		"then the source":                 {rule(source.Host+"/team", "AllowContactingSource"), true, true, true, 200},
		"unless it is not to be asked":    {rule(source.Host+"/team", "NeverContactSource"), true, false, true, 503},
		"a source that only begins alike": {rule(source.Host+"/te", "NeverContactSource"), false, true, false, 200},
	} {
		t.Run(name, func(t *testing.T) {
			mirror.Recover()
			if c.broken {
				mirror.Fail("", "/v2/copy/**", 503)
			}
			e := start(t, through(c.settings))
			e.api.AddSecret("team", login("mirror", mirror.Host, "reader", "of the mirror"))
			e.add(imported{repository: "team/app", tag: "v1", source: source, path: "team/app", image: image, insecure: true})
			source.Forget()
			mirror.Forget()
			e.get("/v2/team/app/manifests/v1").want(c.status)
			if got := mirror.Count("GET", "/v2/copy/**") > 0; got != c.mirror {
				t.Errorf("the mirror was asked: %v", got)
			}
			if got := source.Count("GET", "/v2/team/**") > 0; got != c.source {
				t.Errorf("the source was asked: %v", got)
			}
		})
	}
}

// Behaviour 76a.
func TestAnImportedManifestOpensNothingOfOthers(t *testing.T) {
	e := start(t, reachable)
	secret := []byte("a layer that only elsewhere has")
	e.pushBlob("elsewhere/app", secret, otherToken)
	hidden := e.image("team/unused", "hidden") // also a manifest that only elsewhere has
	for _, blob := range []string{"layer of hidden", `{"architecture":"amd64","os":"linux","author":"hidden"}`} {
		e.pushBlob("elsewhere/app", []byte(blob), otherToken)
	}
	e.do(call{method: "PUT", path: "/v2/elsewhere/app/manifests/v1", body: hidden, token: otherToken, header: map[string]string{"Content-Type": ociManifest}}).want(201)

	evil := secondregistry.Start(t, secondregistry.Options{})
	config := evil.PushBlob(t, "evil", ociConfig, []byte("{}"))
	raw := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, ociManifest,
		descriptor(ociConfig, []byte("{}")), descriptor(ociLayer, secret))
	evil.Document("/v2/evil/manifests/"+digestOf(raw), ociManifest, nil, raw)
	index := indexOf(hidden)
	evil.Document("/v2/evil/manifests/"+digestOf(index), ociIndex, nil, index)
	e.api.AddImage(&imagev1.Image{ObjectMeta: objectMeta("", digestOf(raw)), DockerImageManifestMediaType: ociManifest,
		DockerImageLayers: []imagev1.ImageLayer{{Name: digestOf(secret), LayerSize: int64(len(secret)), MediaType: ociLayer}}})
	e.api.AddImage(&imagev1.Image{ObjectMeta: objectMeta("", digestOf(index)), DockerImageManifestMediaType: ociIndex,
		DockerImageManifests: []imagev1.ImageManifest{{Digest: digestOf(hidden), MediaType: ociManifest}}})
	stream := &imagev1.ImageStream{ObjectMeta: objectMeta("team", "trap")}
	stream.Annotations = map[string]string{imagev1.InsecureRepositoryAnnotation: "true"}
	for tag, document := range map[string][]byte{"image": raw, "index": index} {
		stream.Status.Tags = append(stream.Status.Tags, imagev1.NamedTagEventList{Tag: tag, Items: []imagev1.TagEvent{{
			Image: digestOf(document), DockerImageReference: evil.Host + "/evil@" + digestOf(document),
		}}})
	}
	e.api.AddStream(stream)
	e.get("/v2/team/trap/manifests/image").want(200)
	e.get("/v2/team/trap/manifests/index").want(200)
	e.get("/v2/team/trap/blobs/" + config.Digest.String()).want(404) // not in the answer about its layers
	blob, child := "/v2/team/trap/blobs/"+digestOf(secret), "/v2/team/trap/manifests/"+digestOf(hidden)
	e.get(blob).want(404, "BLOB_UNKNOWN")
	e.head(blob).want(404)
	e.get(blob, "Range", "bytes=0-3").want(404)
	e.get(child).want(404, "MANIFEST_UNKNOWN")
	e.head(child).want(404)
	// A source that only says that it has it proves nothing: HEAD is its word, and no more.
	evil.Answer("HEAD", "/v2/evil/blobs/**", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(secret)))
	})
	e.head(blob).want(200)
	e.get(blob).want(404, "BLOB_UNKNOWN")
	e.pushBlob("team/trap", []byte("{}"))
	e.putManifest("team/trap", "v1", raw, ociManifest).want(400, "MANIFEST_BLOB_UNKNOWN")
	e.putManifest("team/trap", "v2", index, ociIndex).want(400, "MANIFEST_BLOB_UNKNOWN")
	// Bytes that are not those either.
	evil.Document("/v2/evil/blobs/**", "application/octet-stream", nil, []byte(strings.Repeat("x", len(secret))))
	e.putManifest("team/trap", "v1", raw, ociManifest).want(503, "UNAVAILABLE")
	if d := digest.Digest(digestOf(secret)); e.linked("team/trap", store.Layers, d) {
		t.Error("the layer of others was linked")
	}
	e.do(call{method: "GET", path: "/v2/elsewhere/app/blobs/" + digestOf(secret), token: otherToken}).want(200)
}

// Behaviour 23: what HEAD promised is fetched before a manifest is accepted.
func TestAPushMayNameWhatASourceHas(t *testing.T) {
	e := start(t, through("mirror: false"))
	source, _, layer := e.simple(secondregistry.Options{})
	e.head("/v2/team/app/blobs/" + layer.String()).want(200)
	config := []byte(`{"architecture":"amd64","os":"linux"}`)
	e.pushBlob("team/app", config)
	content := []byte("the only layer of " + t.Name())
	raw := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, ociManifest, descriptor(ociConfig, config), descriptor(ociLayer, content))
	source.Fail("", "/v2/app/blobs/**", 503)
	e.putManifest("team/app", "mine", raw, ociManifest).want(503, "UNAVAILABLE")
	source.Recover()
	e.putManifest("team/app", "mine", raw, ociManifest).want(201)
	source.Fail("", "/v2/**", 503)
	e.pullCompletely("team/app", "mine")
}
