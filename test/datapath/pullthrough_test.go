//go:build component

package datapath

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/test/imageapi"
	"image.alauda.io/registry/test/pulled"
	"image.alauda.io/registry/test/secondregistry"
)

// Behaviours 65, 66 and 76a: an image that the real image API has imported, with the pull secret of its
// namespace, is pulled by those who may pull from the stream, and by them only; afterwards the source can go.
func testPullThrough(t *testing.T, e *environment) {
	source := secondregistry.Start(t, secondregistry.Options{TLS: true, Users: map[string]string{"reader": "of-the-source"}})
	amd := source.PushImage(t, "library/tool", "", secondregistry.Image{})
	arm := source.PushImage(t, "library/tool", "", secondregistry.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "arm64"}})
	index := source.PushIndex(t, "library/tool", "v1", amd, arm)

	namespace, other := e.namespace(t), e.namespace(t)+"-other"
	imageapi.CreateNamespace(t, e.Kube, other)
	user, stranger := e.user(t, namespace, "reader", puller), e.user(t, other, "stranger", puller)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "source"}, Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{
		corev1.DockerConfigJsonKey: fmt.Appendf(nil, `{"auths":{%q:{"username":"reader","password":"of-the-source"}}}`, source.Host),
	}}
	_, err := e.Kube.CoreV1().Secrets(namespace).Create(t.Context(), secret, metav1.CreateOptions{})
	must(t, err)
	e.importImage(t, namespace, source.Host+"/library/tool:v1")

	tag, err := e.Images.ImageV1().ImageStreamTags(namespace).Get(t.Context(), "tool:v1", metav1.GetOptions{})
	must(t, err)
	if want := imageapi.InternalHost + "/" + namespace + "/tool@" + index.Digest.String(); tag.Image.DockerImageReference != want {
		t.Errorf("workloads are told to pull %s, want %s", tag.Image.DockerImageReference, want)
	}
	refused(t, "a reader of another namespace", pullError(t, e.tag(t, namespace+"/tool", "v1"), stranger), http.StatusForbidden, "")
	digest, err := v1.NewHash(index.Digest.String())
	must(t, err)
	for _, reference := range []name.Reference{e.tag(t, namespace+"/tool", "v1"), e.digest(t, namespace+"/tool", digest)} {
		got, err := remote.Index(reference, as(t, user)...)
		must(t, err)
		if hash(t, got) != digest {
			t.Errorf("%s: pulled %s, want %s", reference, hash(t, got), digest)
		}
		e.pullBlobs(t, got)
	}
	child, err := v1.NewHash(arm.Digest.String())
	must(t, err)
	// Once everything is kept, nobody needs the source.
	source.Fail("", "/**", http.StatusServiceUnavailable)
	imageapi.Eventually(t, "the image is kept", func(context.Context) error {
		got, err := remote.Index(e.tag(t, namespace+"/tool", "v1"), as(t, user)...)
		if err != nil {
			return err
		}
		image, err := got.Image(child)
		if err != nil {
			return err
		}
		return pulled.Verify(image)
	})

	// Another namespace that knows the digests, and has no secret, does not get at them.
	_, err = e.Images.ImageV1().ImageStreams(other).Create(t.Context(), &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Name: "tool"}}, metav1.CreateOptions{})
	must(t, err)
	err = pullError(t, e.digest(t, other+"/tool", digest), stranger)
	refused(t, "a digest that the stream does not have", err, http.StatusNotFound, "MANIFEST_UNKNOWN")
	if strings.Contains(fmt.Sprint(err), "of-the-source") {
		t.Error("the answer contains the password")
	}
}

// importImage imports into tool:v1 of a namespace, for pulls through this registry.
func (e *environment) importImage(t *testing.T, namespace, from string) {
	t.Helper()
	request := &imagev1.ImageStreamImport{ObjectMeta: metav1.ObjectMeta{Name: "tool"}, Spec: imagev1.ImageStreamImportSpec{
		Import: true, Images: []imagev1.ImageImportSpec{{
			From: corev1.ObjectReference{Kind: "DockerImage", Name: from}, To: &corev1.LocalObjectReference{Name: "v1"},
			ImportPolicy:    imagev1.TagImportPolicy{Insecure: true},
			ReferencePolicy: imagev1.TagReferencePolicy{Type: imagev1.LocalTagReferencePolicy},
		}},
	}}
	answer, err := e.Images.ImageV1().ImageStreamImports(namespace).Create(t.Context(), request, metav1.CreateOptions{})
	must(t, err)
	if status := answer.Status.Images[0].Status; status.Status != metav1.StatusSuccess {
		t.Fatalf("import of %s: %+v", from, status)
	}
}

func (e *environment) pullBlobs(t *testing.T, index v1.ImageIndex) {
	t.Helper()
	list, err := index.IndexManifest()
	must(t, err)
	for _, child := range list.Manifests {
		image, err := index.Image(child.Digest)
		must(t, err)
		must(t, pulled.Verify(image))
	}
}
