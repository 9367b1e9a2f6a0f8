//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"image.alauda.io/registry/test/secondregistry"
)

// startSecondRegistry runs another registry where the Pods of the cluster reach it: with a certificate that
// nobody trusts, and for one user.
func startSecondRegistry(t *testing.T) *secondregistry.Registry {
	t.Helper()
	return secondregistry.Start(t, secondregistry.Options{
		TLS: true, Address: bridgeAddress + ":0", Users: map[string]string{"reader": "of-the-second-registry"},
	})
}

// login stores the credentials of the second registry in a namespace, as its users would.
func login(t *testing.T, namespace string, registry *secondregistry.Registry) {
	t.Helper()
	shared.shell(t, fmt.Sprintf("kubectl -n %s create secret docker-registry second --docker-server=%s --docker-username=reader --docker-password=of-the-second-registry",
		namespace, registry.Host))
}

func pushForTwoPlatforms(t *testing.T, registry *secondregistry.Registry, repository, tag, seed string) (ocispec.Descriptor, []ocispec.Descriptor) {
	t.Helper()
	children := []ocispec.Descriptor{
		registry.PushImage(t, repository, "", secondregistry.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, Seed: seed}),
		registry.PushImage(t, repository, "", secondregistry.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "arm64"}, Seed: seed}),
	}
	return registry.PushIndex(t, repository, tag, children...), children
}

// TestImportOfAnImageForTwoPlatforms: without asking for it, all platforms come; the credentials are those of
// the namespace; and without them the answer says whose they have to be.
//
// Behaviours image-api 35, 37 and 39.
func TestImportOfAnImageForTwoPlatforms(t *testing.T) {
	registry := startSecondRegistry(t)
	index, children := pushForTwoPlatforms(t, registry, "library/tool", "v1", "first")
	namespace := shared.namespace(t, "import")
	request := fmt.Sprintf(`kubectl -n %s create -o yaml -f - <<'END'
apiVersion: image.alauda.io/v1
kind: ImageStreamImport
metadata: {name: tool}
spec:
  import: true
  images:
  - from: {kind: DockerImage, name: "%s/library/tool:v1"}
    importPolicy: {insecure: true}
END`, namespace, registry.Host)

	if out := shared.shell(t, request); !strings.Contains(out, "reason: Unauthorized") {
		t.Errorf("without credentials the item should be Unauthorized:\n%s", out)
	}
	login(t, namespace, registry)
	out := shared.shell(t, request)
	if !strings.Contains(out, index.Digest.String()) {
		t.Fatalf("the answer does not name the index %s:\n%s", index.Digest, out)
	}
	if strings.Contains(out, "of-the-second-registry") {
		t.Error("the answer contains the password")
	}
	if got := shared.shell(t, fmt.Sprintf("kubectl -n %s get istag tool:v1 -o jsonpath='{.image.metadata.name}'", namespace)); got != index.Digest.String() {
		t.Errorf("tool:v1 is %s, want the index %s", got, index.Digest)
	}
	manifests := shared.shell(t, fmt.Sprintf("kubectl get image %s -o jsonpath='{range .dockerImageManifests[*]}{.digest}={.os}/{.architecture} {end}'", index.Digest))
	for i, platform := range []string{"linux/amd64", "linux/arm64"} {
		if want := children[i].Digest.String() + "=" + platform; !strings.Contains(manifests, want) {
			t.Errorf("no %s in %s", want, manifests)
		}
		if got := shared.shell(t, fmt.Sprintf("kubectl get image %s -o jsonpath='{.dockerImageReference}'", children[i].Digest)); got != registry.Host+"/library/tool@"+children[i].Digest.String() {
			t.Errorf("the child for %s refers to %s", platform, got)
		}
	}
}

// TestImportOfARepository with a tag that cannot be read: the others come nevertheless.
//
// Behaviour image-api 36.
func TestImportOfARepository(t *testing.T) {
	registry := startSecondRegistry(t)
	for _, tag := range []string{"latest", "1.1", "1.0", "broken"} {
		registry.PushImage(t, "library/many", tag, secondregistry.Image{Seed: tag})
	}
	registry.Fail("", "/v2/library/many/manifests/broken", 404)
	namespace := shared.namespace(t, "repository")
	login(t, namespace, registry)
	shared.shell(t, fmt.Sprintf(`kubectl -n %s create -f - <<'END'
apiVersion: image.alauda.io/v1
kind: ImageStreamImport
metadata: {name: many}
spec:
  import: true
  repository:
    from: {kind: DockerImage, name: "%s/library/many"}
    importPolicy: {insecure: true}
END`, namespace, registry.Host))
	tags := shared.shell(t, fmt.Sprintf("kubectl -n %s get istag -o name", namespace))
	for tag, there := range map[string]bool{"latest": true, "1.1": true, "1.0": true, "broken": false} {
		if strings.Contains(tags, "/many:"+tag) != there {
			t.Errorf("tag %s: there should be %v, have\n%s", tag, there, tags)
		}
	}
	condition := shared.shell(t, fmt.Sprintf(`kubectl -n %s get imagestream many -o jsonpath='{.status.tags[?(@.tag=="broken")].conditions[0].reason}'`, namespace))
	if condition != "NotFound" {
		t.Errorf("the condition of the tag that failed says %q, want NotFound", condition)
	}
}

// TestScheduledImportPicksUpANewDigest: nobody touches the stream.
//
// Behaviours image-api 46, 47 and 66.
func TestScheduledImportPicksUpANewDigest(t *testing.T) {
	configure := func(config string) {
		patch := fmt.Sprintf(`{"spec":{"imageAPI":{"config":%s}}}`, config)
		if _, err := shared.image.ImageregistryV1().Configs().Patch(context.WithoutCancel(t.Context()), "cluster", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	configure(`{"imageImport":{"scheduled":{"minimumInterval":"5s"}}}`)
	t.Cleanup(func() {
		configure("null")
		shared.waitHealthy(t)
	})
	registry := startSecondRegistry(t)
	first, _ := pushForTwoPlatforms(t, registry, "library/fresh", "latest", "first")
	namespace := shared.namespace(t, "scheduled")
	login(t, namespace, registry)
	shared.shell(t, fmt.Sprintf(`kubectl -n %s create -f - <<'END'
apiVersion: image.alauda.io/v1
kind: ImageStream
metadata: {name: fresh}
spec:
  tags:
  - name: latest
    from: {kind: DockerImage, name: "%s/library/fresh:latest"}
    importPolicy: {insecure: true, scheduled: true}
END`, namespace, registry.Host))
	becomes := func(digest string) {
		t.Helper()
		eventually(t, "fresh:latest becomes "+digest, func(context.Context) error {
			out, err := shared.tryShell(t, fmt.Sprintf("kubectl -n %s get istag fresh:latest -o jsonpath='{.image.metadata.name}'", namespace))
			if err == nil && out != digest {
				err = fmt.Errorf("it is %s", out)
			}
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			return err
		})
	}
	becomes(first.Digest.String())
	second, _ := pushForTwoPlatforms(t, registry, "library/fresh", "latest", "second")
	becomes(second.Digest.String())
}

// TestImportOutOfThisRegistry copies with the rights of the namespace that asks: without them nothing is found,
// with them the copy belongs to the new repository, with its layers.
//
// Behaviours image-api 32 and 39.
func TestImportOutOfThisRegistry(t *testing.T) {
	source, target := shared.namespace(t, "origin"), shared.namespace(t, "copy")
	digest := pushHello(t, source+"/app:v1", shared.pusher(t, source))
	pullSecretToken(t, target, "default")
	request := fmt.Sprintf(`kubectl -n %s create -o yaml -f - <<'END'
apiVersion: image.alauda.io/v1
kind: ImageStreamImport
metadata: {name: app}
spec:
  import: true
  images:
  - from: {kind: DockerImage, name: "%s/%s/app:v1"}
END`, target, internalHost, source)
	if out := shared.shell(t, request); strings.Contains(out, digest) {
		t.Fatalf("namespace %s may not pull from %s, and yet the import found the image:\n%s", target, source, out)
	}
	shared.grant(t, source, "system:image-puller", "default", target)
	eventually(t, "the import is allowed", func(context.Context) error {
		out, err := shared.tryShell(t, request)
		if err == nil && !strings.Contains(out, "status: Success") {
			err = fmt.Errorf("%s", out)
		}
		return err
	})
	if got := shared.shell(t, fmt.Sprintf("kubectl -n %s get istag app:v1 -o jsonpath='{.image.dockerImageReference}'", target)); got != internalHost+"/"+target+"/app@"+digest {
		t.Errorf("the copy refers to %s", got)
	}
	if got := pullIndexCompletely(t, target+"/app:v1", asToken(shared.token(t, target, "default"))); got != digest {
		t.Errorf("pulled %s from the copy, want %s", got, digest)
	}
}

// TestBackfilledImageIsCompleted: an administrator records by name what the registry has; the rest comes by itself.
//
// Behaviour image-api 49.
func TestBackfilledImageIsCompleted(t *testing.T) {
	namespace := shared.namespace(t, "backfill")
	digest := pushRandomImage(t, namespace+"/app:v1", shared.pusher(t, namespace))
	// What a restored volume without its metadata looks like.
	shared.shell(t, fmt.Sprintf("kubectl -n %s delete istag app:v1 && kubectl delete image %s", namespace, digest))
	shared.shell(t, fmt.Sprintf(`kubectl -n %s create -f - <<'END'
apiVersion: image.alauda.io/v1
kind: ImageStreamMapping
metadata: {name: app}
tag: v1
image:
  metadata: {name: "%s"}
  dockerImageReference: "%s/%s/app@%s"
  dockerImageManifestMediaType: application/vnd.docker.distribution.manifest.v2+json
END`, namespace, digest, internalHost, namespace, digest))
	eventually(t, "the image is completed", func(ctx context.Context) error {
		image, err := shared.image.ImageV1().Images().Get(ctx, digest.String(), metav1.GetOptions{})
		if err == nil && (len(image.DockerImageLayers) != 3 || image.Annotations["alauda.io/image.managed"] != "true") {
			err = fmt.Errorf("it has %d layers and annotations %v", len(image.DockerImageLayers), image.Annotations)
		}
		return err
	})
}

// copySample pushes the image that Pods of the tests run to another registry.
func copySample(t *testing.T, registry *secondregistry.Registry, repository string) {
	t.Helper()
	target, err := name.NewTag(registry.Host + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(registry.CA)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authorities, ServerName: "example.com"}}
	defer transport.CloseIdleConnections()
	auth := &authn.Basic{Username: "reader", Password: "of-the-second-registry"}
	if err := remote.WriteIndex(target, sampleIndex(t), remote.WithContext(t.Context()), remote.WithTransport(transport), remote.WithAuth(auth)); err != nil {
		t.Fatalf("push %s: %v", target, err)
	}
}

// TestPodsRunAnImportedImageThroughThisRegistry: with referencePolicy Local workloads name the internal service. Nodes
// neither trust the other registry nor have its password.
//
// Behaviours registry 65 and 100.
func TestPodsRunAnImportedImageThroughThisRegistry(t *testing.T) {
	registry := startSecondRegistry(t)
	copySample(t, registry, "library/hello:v1")
	namespace := shared.namespace(t, "through")
	login(t, namespace, registry)
	pullSecretToken(t, namespace, "default")
	shared.shell(t, fmt.Sprintf(`kubectl -n %s create -f - <<'END'
apiVersion: image.alauda.io/v1
kind: ImageStreamImport
metadata: {name: hello}
spec:
  import: true
  images:
  - from: {kind: DockerImage, name: "%s/library/hello:v1"}
    to: {name: v1}
    importPolicy: {insecure: true}
    referencePolicy: {type: Local}
END`, namespace, registry.Host))
	pinned := shared.shell(t, fmt.Sprintf("kubectl -n %s get istag hello:v1 -o jsonpath='{.image.dockerImageReference}'", namespace))
	if !strings.HasPrefix(pinned, internalHost+"/"+namespace+"/hello@sha256:") {
		t.Fatalf("workloads are told to pull %s, want it from this registry", pinned)
	}
	list := nodes(t)
	for i, image := range []string{internalHost + "/" + namespace + "/hello:v1", pinned} {
		for _, node := range list {
			runPod(t, namespace, fmt.Sprintf("on-%s-%d", node.Name, i), node.Name, image)
		}
	}
	for _, node := range list {
		for i := range 2 {
			waitReady(t, namespace, fmt.Sprintf("on-%s-%d", node.Name, i))
		}
	}
	if n := registry.Count("GET", "/v2/library/hello/blobs/*"); n > 8 {
		t.Errorf("%d Pods made %d downloads of blobs", 2*len(list), n)
	}
	// The nodes may have had the content under another name; a client that has nothing gets all of it.
	pullAsNode(t, namespace, pinned)
}

// pullAsNode pulls the image of an index that a node would take, with the rights of the namespace.
func pullAsNode(t *testing.T, namespace, pinned string) {
	t.Helper()
	auth := asToken(shared.token(t, namespace, "default"))
	repository := strings.TrimPrefix(pinned, internalHost+"/")
	index, err := remote.Index(shared.reference(t, repository), shared.remoteOptions(t, auth)...)
	if err != nil {
		t.Fatalf("pull %s: %v", pinned, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, child := range manifest.Manifests {
		if child.Platform != nil && child.Platform.Architecture == runtime.GOARCH {
			stream, _, _ := strings.Cut(repository, "@")
			pullCompletely(t, stream+"@"+child.Digest.String(), auth)
			return
		}
	}
	t.Fatalf("%s has no image for %s", pinned, runtime.GOARCH)
}
