//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image.alauda.io/registry/test/pulled"
)

// randomImage returns an image of three random layers.
func randomImage(t *testing.T) v1.Image {
	t.Helper()
	image, err := random.Image(16<<10, 3)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// pushRandomImage pushes a new image and returns its digest.
func pushRandomImage(t *testing.T, repository string, auth remote.Option) v1.Hash {
	t.Helper()
	image := randomImage(t)
	if err := remote.Write(shared.reference(t, repository), image, shared.remoteOptions(t, auth)...); err != nil {
		t.Fatalf("push %s: %v", repository, err)
	}
	return digestOf(t, image)
}

func digestOf(t *testing.T, object interface{ Digest() (v1.Hash, error) }) v1.Hash {
	t.Helper()
	digest, err := object.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// pullCompletely downloads an image with all its layers and checks every digest.
func pullCompletely(t *testing.T, repository string, auth remote.Option) v1.Hash {
	t.Helper()
	image, err := remote.Image(shared.reference(t, repository), shared.remoteOptions(t, auth)...)
	if err != nil {
		t.Fatalf("pull %s: %v", repository, err)
	}
	if err := pulled.Verify(image); err != nil {
		t.Fatalf("pull %s: %v", repository, err)
	}
	return digestOf(t, image)
}

func TestPushedImageIsInTheKubernetesAPI(t *testing.T) {
	namespace := shared.namespace(t, "push")
	auth := shared.pusher(t, namespace)
	digest := pushRandomImage(t, namespace+"/app:v1", auth)

	if got := pullCompletely(t, namespace+"/app:v1", auth); got != digest {
		t.Errorf("by tag: got %s, want %s", got, digest)
	}
	if got := pullCompletely(t, namespace+"/app@"+digest.String(), auth); got != digest {
		t.Errorf("by digest: got %s, want %s", got, digest)
	}

	image, err := shared.image.ImageV1().Images().Get(t.Context(), digest.String(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(image.DockerImageLayers) != 3 || image.Annotations["alauda.io/image.managed"] != "true" {
		t.Errorf("Image has %d layers and annotations %v", len(image.DockerImageLayers), image.Annotations)
	}
	tag, err := shared.image.ImageV1().ImageStreamTags(namespace).Get(t.Context(), "app:v1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if tag.Image.Name != digest.String() {
		t.Errorf("ImageStreamTag names %s, want %s", tag.Image.Name, digest)
	}
}

func TestMultiArchitectureIndex(t *testing.T) {
	namespace := shared.namespace(t, "index")
	auth := shared.pusher(t, namespace)
	amd64, arm64 := randomImage(t), randomImage(t)
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: amd64, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: arm64, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}})
	if err := remote.WriteIndex(shared.reference(t, namespace+"/app:multi"), index, shared.remoteOptions(t, auth)...); err != nil {
		t.Fatal(err)
	}

	pulled, err := remote.Index(shared.reference(t, namespace+"/app:multi"), shared.remoteOptions(t, auth)...)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := digestOf(t, pulled), digestOf(t, index); got != want {
		t.Errorf("index: got %s, want %s", got, want)
	}
	for _, child := range []v1.Image{amd64, arm64} {
		digest := digestOf(t, child)
		if got := pullCompletely(t, namespace+"/app@"+digest.String(), auth); got != digest {
			t.Errorf("child: got %s, want %s", got, digest)
		}
	}
	image, err := shared.image.ImageV1().Images().Get(t.Context(), digestOf(t, index).String(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(image.DockerImageManifests) != 2 || image.DockerImageManifests[1].Architecture != "arm64" {
		t.Errorf("Image of the index lists %+v", image.DockerImageManifests)
	}
}

// request sends one request with a token and returns status and body.
func request(t *testing.T, method, path, token string, header http.Header, body []byte) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "https://"+shared.registry+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := shared.transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(content)
}

func TestBadInputIsRefusedWithACause(t *testing.T) {
	namespace := shared.namespace(t, "bad")
	token := shared.token(t, namespace, "builder")
	shared.grant(t, namespace, "system:image-pusher", "builder", namespace)
	oci := http.Header{"Content-Type": {"application/vnd.oci.image.manifest.v1+json"}}
	for name, tc := range map[string]struct {
		method, path string
		header       http.Header
		body         string
		status       int
		code         string
	}{
		"name of one component":    {"GET", "/v2/app/tags/list", nil, "", 400, "NAME_INVALID"},
		"name with a dot segment":  {"GET", "/v2/" + namespace + "/../tags/list", nil, "", 400, "NAME_INVALID"},
		"malformed digest":         {"GET", "/v2/" + namespace + "/app/blobs/sha256:12", nil, "", 400, "DIGEST_INVALID"},
		"malformed tag":            {"GET", "/v2/" + namespace + "/app/manifests/-tag", nil, "", 400, "TAG_INVALID"},
		"manifest that is no JSON": {"PUT", "/v2/" + namespace + "/app/manifests/v1", oci, "{", 400, "MANIFEST_INVALID"},
		"manifest with unknown blobs": {"PUT", "/v2/" + namespace + "/app/manifests/v1", oci,
			`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:` + strings.Repeat("a", 64) + `","size":2},"layers":[]}`,
			400, "MANIFEST_BLOB_UNKNOWN"},
		"blob that does not match its digest": {"POST", "/v2/" + namespace + "/app/blobs/uploads/?digest=sha256:" + strings.Repeat("b", 64),
			http.Header{"Content-Type": {"application/octet-stream"}}, "hello", 400, "DIGEST_INVALID"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := request(t, tc.method, tc.path, token, tc.header, []byte(tc.body))
			if status != tc.status || !strings.Contains(body, tc.code) {
				t.Errorf("got %d %s, want %d %s", status, body, tc.status, tc.code)
			}
		})
	}
	if streams := shared.shell(t, "kubectl -n "+namespace+" get imagestreams -o name"); streams != "" {
		t.Errorf("refused pushes left %s", streams)
	}
}

// refusal returns the HTTP status and the text of a client error.
func refusal(t *testing.T, err error) (int, string) {
	t.Helper()
	var refused *transport.Error
	if !errors.As(err, &refused) {
		t.Fatalf("got %v, want an answer of the registry", err)
	}
	return refused.StatusCode, err.Error()
}
