package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"
	"image.alauda.io/registry/test/secondregistry"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// reachable allows the sources of tests, which are on this machine.
const reachable = "ALAUDA=, pullthrough: {deniedcidrs: [], dockerconfigpaths: []}"

// through are the settings of pull-through in a test.
func through(settings string) string {
	return "ALAUDA=, pullthrough: {deniedcidrs: [], dockerconfigpaths: [], " + settings + "}"
}

// imported is a tag that shows an image of another registry.
type imported struct {
	repository, tag string
	source          *secondregistry.Registry
	path            string
	image           v1.Descriptor
	insecure        bool
	// host replaces that of the source.
	host string
}

// add records an import as the image API does: the Images, with those below an index, and
// the item of the tag.
func (e *env) add(i imported) {
	e.t.Helper()
	host := i.host
	if host == "" {
		host = i.source.Host
	}
	e.describe(i.source, i.path, i.image)
	ns, name, _ := strings.Cut(i.repository, "/")
	stream, err := e.api.Stream(e.t.Context(), route.Name{Namespace: ns, Stream: name})
	if err != nil {
		stream = &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	}
	stream.Spec.Tags = append(stream.Spec.Tags, imagev1.TagReference{Name: i.tag, ImportPolicy: imagev1.TagImportPolicy{Insecure: i.insecure}})
	stream.Status.Tags = append(stream.Status.Tags, imagev1.NamedTagEventList{Tag: i.tag, Items: []imagev1.TagEvent{{
		Created: metav1.NewTime(e.clock.Now()), Image: i.image.Digest.String(), DockerImageReference: host + "/" + i.path + "@" + i.image.Digest.String(),
	}}})
	e.api.AddStream(stream)
}

// describe stores the Image of a manifest and of what is below it.
func (e *env) describe(source *secondregistry.Registry, path string, of v1.Descriptor) {
	e.t.Helper()
	image := &imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: of.Digest.String()}, DockerImageManifestMediaType: of.MediaType}
	var document struct {
		Config            v1.Descriptor
		Layers, Manifests []v1.Descriptor
	}
	if err := json.Unmarshal(source.Manifest(e.t, path, of.Digest), &document); err != nil {
		e.t.Fatal(err)
	}
	if document.Config.Digest != "" {
		image.Annotations = map[string]string{imagev1.ImageConfigDigestAnnotation: document.Config.Digest.String()}
	}
	for _, layer := range document.Layers {
		image.DockerImageLayers = append(image.DockerImageLayers, imagev1.ImageLayer{Name: layer.Digest.String(), LayerSize: layer.Size, MediaType: layer.MediaType})
	}
	for _, child := range document.Manifests {
		image.DockerImageManifests = append(image.DockerImageManifests, imagev1.ImageManifest{Digest: child.Digest.String(), MediaType: child.MediaType})
		e.describe(source, path, child)
	}
	e.api.AddImage(image)
}

// pullCompletely reads a manifest, everything below it, and all blobs.
func (e *env) pullCompletely(repository, reference string) {
	e.t.Helper()
	answer := e.get("/v2/" + repository + "/manifests/" + reference).want(200)
	if got := answer.Header.Get("Docker-Content-Digest"); got != digestOf(answer.body) {
		e.t.Fatalf("the manifest has the digest %s, the answer says %s", digestOf(answer.body), got)
	}
	var document struct {
		Config            *v1.Descriptor
		Layers, Manifests []v1.Descriptor
	}
	if err := json.Unmarshal(answer.body, &document); err != nil {
		e.t.Fatal(err)
	}
	for _, child := range document.Manifests {
		e.pullCompletely(repository, child.Digest.String())
	}
	if document.Config != nil {
		document.Layers = append(document.Layers, *document.Config)
	}
	for _, layer := range document.Layers {
		if got := e.get("/v2/" + repository + "/blobs/" + layer.Digest.String()).want(200); digestOf(got.body) != layer.Digest.String() {
			e.t.Fatalf("blob %s came as %s", layer.Digest, digestOf(got.body))
		}
	}
}

// eventually waits for what happens in the background.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("not reached: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// linked tells whether a repository has something of its own.
func (e *env) linked(repository string, set store.Links, d digest.Digest) bool {
	ns, name, _ := strings.Cut(repository, "/")
	_, err := e.registry.Store.Link(e.t.Context(), route.Name{Namespace: ns, Stream: name}, set, d)
	return err == nil
}

func login(name, host, user, password string) corev1.Secret {
	return corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: fmt.Appendf(nil, `{"auths":{%q:{"username":%q,"password":%q}}}`, host, user, password)}}
}

// Behaviour 65.
func TestAnImportedTagIsPulledThrough(t *testing.T) {
	for name, c := range map[string]struct {
		options  secondregistry.Options
		insecure bool
		ca       bool
	}{
		"a registry with a certificate":       {options: secondregistry.Options{TLS: true}, ca: true},
		"one with a password":                 {options: secondregistry.Options{TLS: true, Users: map[string]string{"reader": "secret"}}, ca: true},
		"one with tokens":                     {options: secondregistry.Options{TLS: true, Tokens: true, Users: map[string]string{"reader": "secret"}}, ca: true},
		"an insecure one, HTTPS":              {options: secondregistry.Options{TLS: true}, insecure: true},
		"an insecure one, plain HTTP, logins": {options: secondregistry.Options{Users: map[string]string{"reader": "secret"}}, insecure: true},
	} {
		t.Run(name, func(t *testing.T) {
			source := secondregistry.Start(t, c.options)
			settings := reachable
			if c.ca {
				settings = through("cadirs: ['" + trustOf(t, source) + "']")
			}
			e := start(t, settings)
			e.api.AddSecret("team", login("pull", source.Host, "reader", "secret"))
			amd := source.PushImage(t, "library/app", "", secondregistry.Image{})
			arm := source.PushImage(t, "library/app", "", secondregistry.Image{Platform: v1.Platform{OS: "linux", Architecture: "arm64"}})
			index := source.PushIndex(t, "library/app", "v1", amd, arm)
			e.add(imported{repository: "team/app", tag: "v1", source: source, path: "library/app", image: index, insecure: c.insecure})

			e.pullCompletely("team/app", "v1")
			e.pullCompletely("team/app", arm.Digest.String())
			// Who takes single manifests only gets the child for linux/amd64.
			e.get("/v2/team/app/manifests/v1", "Accept", ociManifest).want(200).header("Docker-Content-Digest", amd.Digest.String())
			eventually(t, "the manifests are kept", func() bool {
				return e.linked("team/app", store.Revisions, index.Digest) && e.linked("team/app", store.Revisions, arm.Digest)
			})
			source.Fail("", "/v2/**", http.StatusInternalServerError)
			e.pullCompletely("team/app", "v1")
			e.do(call{method: "GET", path: "/v2/team/app/manifests/v1", token: otherToken}).want(403)
		})
	}
}

// Behaviour 66.
func TestABlobIsFetchedOnce(t *testing.T) {
	source := secondregistry.Start(t, secondregistry.Options{})
	e := start(t, reachable)
	layer := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	image := source.PushImage(t, "app", "v1", secondregistry.Image{Layers: [][]byte{layer}})
	e.add(imported{repository: "team/app", tag: "v1", source: source, path: "app", image: image, insecure: true})
	d := digest.FromBytes(layer)
	path, upstream := "/v2/team/app/blobs/"+d.String(), "/v2/app/blobs/"+d.String()

	e.head(path).want(200).header("Content-Length", fmt.Sprint(len(layer)))
	if n := source.Count("GET", upstream); n != 0 || e.linked("team/app", store.Layers, d) {
		t.Errorf("HEAD made %d downloads", n)
	}
	if got := e.get(path).want(200).header("Docker-Content-Digest", d.String()).header("Content-Length", fmt.Sprint(len(layer))); !bytes.Equal(got.body, layer) {
		t.Error("the content is not that of the source")
	}
	eventually(t, "the blob is kept", func() bool { return e.linked("team/app", store.Layers, d) })
	e.get(path).want(200)
	source.Fail("", "/v2/**", http.StatusServiceUnavailable)
	e.get(path).want(200)
	e.get(path, "Range", "bytes=3-5").want(206)
	if n := source.Count("GET", upstream); n != 1 {
		t.Errorf("the source was asked %d times for the blob, want once", n)
	}
}

// Behaviour 68.
func TestManyClientsShareOneDownload(t *testing.T) {
	source := secondregistry.Start(t, secondregistry.Options{})
	e := start(t, reachable)
	layer := bytes.Repeat([]byte("abcdefghijklmnopq"), 1_000_000)
	image := source.PushImage(t, "app", "v1", secondregistry.Image{Layers: [][]byte{layer}})
	e.add(imported{repository: "team/app", tag: "v1", source: source, path: "app", image: image, insecure: true})
	d := digest.FromBytes(layer)
	var clients sync.WaitGroup
	for range 100 {
		clients.Go(func() {
			hash := digest.SHA256.Digester()
			answer := e.open("/v2/team/app/blobs/" + d.String())
			defer answer.Body.Close()
			if _, err := copyAll(hash.Hash(), answer.Body); err != nil || answer.StatusCode != 200 || hash.Digest() != d {
				t.Errorf("a client got status %d, digest %s: %v", answer.StatusCode, hash.Digest(), err)
			}
		})
	}
	clients.Wait()
	if n := source.Count("GET", "/v2/app/blobs/"+d.String()); n != 1 {
		t.Errorf("100 clients made %d downloads, want one", n)
	}
}
