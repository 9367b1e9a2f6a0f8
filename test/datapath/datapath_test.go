//go:build component

package datapath

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/test/imageapi"
	"image.alauda.io/registry/test/pulled"
)

const (
	pusher  = "system:image-pusher"
	puller  = "system:image-puller"
	deleter = "system:image-deleter"
	viewer  = "system:image-aggregate-to-view"
)

func TestDataPath(t *testing.T) {
	e := start(t)
	for name, test := range map[string]func(*testing.T, *environment){
		"image":       testImage,
		"index":       testIndex,
		"digest only": testDigestOnly,
		"catalog":     testCatalog,
		"delete tag":  testDeleteTag,
		"pull secret": testPullSecret,
		"refusals":    testRefusals,
		"concurrent":  testConcurrentPushes,
		"copy":        testCopiedTag,
		"one tag":     testConcurrentPushesToOneTag,
		"no blobs":    testMissingBlobs,
		"import":      testPullThrough,
	} {
		t.Run(name, func(t *testing.T) { test(t, e) })
	}
	// Last, because the image API does not come back.
	t.Run("outage", func(t *testing.T) { testOutage(t, e) })
}

func newImage(t *testing.T) v1.Image {
	t.Helper()
	image, err := random.Image(4096, 2)
	must(t, err)
	return image
}

// Behaviours 21 and 32.
func testImage(t *testing.T, e *environment) {
	namespace := e.namespace(t)
	repository := namespace + "/app"
	user := e.user(t, namespace, "pusher", pusher, viewer)
	image := newImage(t)
	digest := hash(t, image)
	must(t, remote.Write(e.tag(t, repository, "v1"), image, as(t, user)...))

	stream, err := e.Images.ImageV1().ImageStreams(namespace).Get(t.Context(), "app", metav1.GetOptions{})
	must(t, err)
	if by := stream.Annotations["image.alauda.io/createdBy"]; by != "system:serviceaccount:"+namespace+":pusher" {
		t.Errorf("stream was created by %q; annotations %v", by, stream.Annotations)
	}
	tag, err := e.Images.ImageV1().ImageStreamTags(namespace).Get(t.Context(), "app:v1", metav1.GetOptions{})
	must(t, err)
	want := imageapi.InternalHost + "/" + repository + "@" + digest.String()
	if tag.Image.Name != digest.String() || tag.Image.DockerImageReference != want || tag.Image.Annotations["alauda.io/image.managed"] != "true" {
		t.Errorf("tag names image %q with reference %q and annotations %v, want reference %q", tag.Image.Name, tag.Image.DockerImageReference, tag.Image.Annotations, want)
	}
	if len(tag.Image.DockerImageLayers) != 2 {
		t.Errorf("image has layers %v, want 2", tag.Image.DockerImageLayers)
	}

	for _, reference := range []name.Reference{e.tag(t, repository, "v1"), e.digest(t, repository, digest)} {
		if got := hash(t, pull(t, reference, user)); got != digest {
			t.Errorf("%s: pulled %s, want %s", reference, got, digest)
		}
	}
	tags, err := remote.List(e.tag(t, repository, "v1").Repository, as(t, user)...)
	if err != nil || !slices.Equal(tags, []string{"v1"}) {
		t.Errorf("tags %v, error %v", tags, err)
	}
}

// pull reads an image with all its layers; the library compares their digests.
func pull(t *testing.T, reference name.Reference, user authn.Authenticator) v1.Image {
	t.Helper()
	image, err := remote.Image(reference, as(t, user)...)
	must(t, err)
	if err := pulled.Verify(image); err != nil {
		t.Errorf("%s: %v", reference, err)
	}
	return image
}

// Behaviour 25.
func testIndex(t *testing.T, e *environment) {
	namespace := e.namespace(t)
	repository := namespace + "/multi"
	user := e.user(t, namespace, "pusher", pusher)
	index := mutate.IndexMediaType(mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: newImage(t), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: newImage(t), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}},
	), types.OCIImageIndex)
	must(t, remote.WriteIndex(e.tag(t, repository, "v1"), index, as(t, user)...))

	stored, err := e.Images.ImageV1().Images().Get(t.Context(), hash(t, index).String(), metav1.GetOptions{})
	must(t, err)
	if len(stored.DockerImageManifests) != 2 {
		t.Fatalf("children %v, want 2", stored.DockerImageManifests)
	}
	for _, child := range stored.DockerImageManifests {
		if _, err := e.Images.ImageV1().Images().Get(t.Context(), child.Digest, metav1.GetOptions{}); err != nil {
			t.Errorf("child: %v", err)
		}
		parsed, err := v1.NewHash(child.Digest)
		must(t, err)
		pull(t, e.digest(t, repository, parsed), user)
	}
	for _, architecture := range []string{"amd64", "arm64"} {
		options := append(as(t, user), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: architecture}))
		if _, err := remote.Image(e.tag(t, repository, "v1"), options...); err != nil {
			t.Errorf("%s: %v", architecture, err)
		}
	}
}

// An image pushed by digest is recorded and readable, but has no tag.
func testDigestOnly(t *testing.T, e *environment) {
	namespace := e.namespace(t)
	repository := namespace + "/app"
	user := e.user(t, namespace, "pusher", pusher)
	image := newImage(t)
	reference := e.digest(t, repository, hash(t, image))
	must(t, remote.Write(reference, image, as(t, user)...))
	pull(t, reference, user)
	if _, err := e.Images.ImageV1().Images().Get(t.Context(), hash(t, image).String(), metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	stream, err := e.Images.ImageV1().ImageStreams(namespace).Get(t.Context(), "app", metav1.GetOptions{})
	if err != nil || len(stream.Status.Tags) != 0 {
		t.Errorf("stream has tags %v, error %v", stream.Status.Tags, err)
	}
}

// Behaviour 46.
func testCatalog(t *testing.T, e *environment) {
	namespace, other := e.namespace(t), e.namespace(t)+"-other"
	imageapi.CreateNamespace(t, e.Kube, other)
	user := e.user(t, namespace, "pusher", pusher, viewer)
	stranger := e.user(t, other, "pusher", pusher)
	for _, stream := range []string{"b", "a"} {
		must(t, remote.Write(e.tag(t, namespace+"/"+stream, "v1"), newImage(t), as(t, user)...))
	}
	must(t, remote.Write(e.tag(t, other+"/c", "v1"), newImage(t), as(t, stranger)...))
	registry := e.tag(t, namespace+"/a", "v1").Registry
	for who, check := range map[string]struct {
		user authn.Authenticator
		want []string
	}{
		"viewer of one namespace": {user, []string{namespace + "/a", namespace + "/b"}},
		"without a list right":    {stranger, nil},
	} {
		got, err := remote.Catalog(t.Context(), registry, as(t, check.user)...)
		if err != nil || !slices.Equal(got, check.want) {
			t.Errorf("%s: catalog %v, error %v; want %v", who, got, err, check.want)
		}
	}
}

// Behaviour 47.
func testDeleteTag(t *testing.T, e *environment) {
	namespace := e.namespace(t)
	repository := namespace + "/app"
	user := e.user(t, namespace, "pusher", pusher)
	cleaner := e.user(t, namespace, "cleaner", deleter)
	image := newImage(t)
	tag := e.tag(t, repository, "v1")
	must(t, remote.Write(tag, image, as(t, user)...))
	refused(t, "delete by the pusher", remote.Delete(tag, as(t, user)...), http.StatusForbidden, "cannot delete")
	must(t, remote.Delete(tag, as(t, cleaner)...))
	if _, err := e.Images.ImageV1().ImageStreamTags(namespace).Get(t.Context(), "app:v1", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("tag afterwards: %v, want NotFound", err)
	}
	pull(t, e.digest(t, repository, hash(t, image)), user)
	refused(t, "second delete", remote.Delete(tag, as(t, cleaner)...), http.StatusNotFound, "")
}

// Behaviour 57.
func testPullSecret(t *testing.T, e *environment) {
	namespace := e.namespace(t)
	tag := e.tag(t, namespace+"/app", "v1")
	e.grant(t, namespace, "builder", pusher, deleter)
	secret, err := e.Kube.CoreV1().Secrets(namespace).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "pull"}}, metav1.CreateOptions{})
	must(t, err)
	unbound := e.token(t, namespace, "builder", nil, audience)
	bound := e.token(t, namespace, "builder", secret, audience)
	foreign := e.token(t, namespace, "builder", nil, "elsewhere.example.test")

	must(t, remote.Write(tag, newImage(t), as(t, unbound)...))
	pull(t, tag, bound)
	const sentence = "pull credential"
	refused(t, "push with a pull secret", remote.Write(tag, newImage(t), as(t, bound)...), http.StatusForbidden, sentence)
	refused(t, "delete with a pull secret", remote.Delete(tag, as(t, bound)...), http.StatusForbidden, sentence)
	_, err = remote.Catalog(t.Context(), tag.Registry, as(t, bound)...)
	refused(t, "catalog with a pull secret", err, http.StatusForbidden, sentence)
	_, err = remote.Image(tag, as(t, foreign)...)
	refused(t, "pull with a foreign audience", err, http.StatusUnauthorized, "")
}

// Behaviours 21, 32, 55 and 56.
func testRefusals(t *testing.T, e *environment) {
	namespace := e.namespace(t)
	repository := namespace + "/app"
	user := e.user(t, namespace, "pusher", pusher)
	reader := e.user(t, namespace, "reader", puller)
	tag := e.tag(t, repository, "v1")
	must(t, remote.Write(tag, newImage(t), as(t, user)...))

	get := func(repository, tag string, who authn.Authenticator) error {
		_, err := remote.Image(e.tag(t, repository, tag), as(t, who)...)
		return err
	}
	refused(t, "unknown tag", get(repository, "v2", user), http.StatusNotFound, "MANIFEST_UNKNOWN")
	refused(t, "unknown stream", get(namespace+"/none", "v1", user), http.StatusNotFound, "NAME_UNKNOWN")
	refused(t, "no credentials", get(repository, "v1", authn.Anonymous), http.StatusUnauthorized, "authentication required")
	refused(t, "bad token", get(repository, "v1", &authn.Basic{Username: "x", Password: "nonsense"}), http.StatusUnauthorized, "")
	refused(t, "push by a reader", remote.Write(tag, newImage(t), as(t, reader)...), http.StatusForbidden, "system:serviceaccount:"+namespace+":reader")
	refused(t, "push elsewhere", remote.Put(e.tag(t, "default/app", "v1"), newImage(t), as(t, user)...), http.StatusForbidden, "imagestreams/layers")

	e.allowEverywhere(t, namespace, "pusher", pusher)
	missing := e.tag(t, namespace+"-missing/app", "v1")
	refused(t, "push into a missing namespace", remote.Write(missing, newImage(t), as(t, e.token(t, namespace, "pusher", nil))...), http.StatusNotFound, "NAME_UNKNOWN")
	unknown, err := v1.NewHash("sha256:" + fmt.Sprintf("%064d", 1))
	must(t, err)
	_, err = remote.Image(e.digest(t, repository, unknown), as(t, user)...)
	refused(t, "unknown digest", err, http.StatusNotFound, "MANIFEST_UNKNOWN")
}

// Behaviours 33 and 34: all first pushes to one stream succeed, whoever creates it.
func testConcurrentPushes(t *testing.T, e *environment) {
	const pushes = 20
	namespace := e.namespace(t)
	user := e.user(t, namespace, "pusher", pusher)
	images := make([]v1.Image, pushes)
	for i := range images {
		images[i] = newImage(t)
	}
	var group sync.WaitGroup
	for i, image := range images {
		group.Go(func() {
			tag := e.tag(t, namespace+"/app", fmt.Sprintf("v%d", i))
			if err := remote.Write(tag, image, as(t, user)...); err != nil {
				t.Errorf("%s: %v", tag, err)
			}
		})
	}
	group.Wait()
	stream, err := e.Images.ImageV1().ImageStreams(namespace).Get(t.Context(), "app", metav1.GetOptions{})
	must(t, err)
	current := map[string]string{}
	for _, list := range stream.Status.Tags {
		current[list.Tag] = list.Items[0].Image
	}
	for i, image := range images {
		if tag := fmt.Sprintf("v%d", i); current[tag] != hash(t, image).String() {
			t.Errorf("tag %s is %q, want %s", tag, current[tag], hash(t, image))
		}
	}
}

// Behaviour 34: whoever comes last is current, and nobody's push is lost.
func testConcurrentPushesToOneTag(t *testing.T, e *environment) {
	const pushes = 5
	namespace := e.namespace(t)
	user := e.user(t, namespace, "pusher", pusher)
	tag := e.tag(t, namespace+"/app", "v1")
	var group sync.WaitGroup
	var pushed []string
	for range pushes {
		image := newImage(t)
		pushed = append(pushed, hash(t, image).String())
		group.Go(func() {
			if err := remote.Write(tag, image, as(t, user)...); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	stream, err := e.Images.ImageV1().ImageStreams(namespace).Get(t.Context(), "app", metav1.GetOptions{})
	must(t, err)
	var history []string
	for _, item := range stream.Status.Tags[0].Items {
		history = append(history, item.Image)
	}
	current := hash(t, pull(t, tag, user)).String()
	if current != history[0] {
		t.Errorf("pulled %s, current is %s", current, history[0])
	}
	slices.Sort(history)
	slices.Sort(pushed)
	if !slices.Equal(history, pushed) {
		t.Errorf("history %v, want %v", history, pushed)
	}
}

// Behaviour 23: a manifest whose layer was never uploaded is refused and not recorded.
func testMissingBlobs(t *testing.T, e *environment) {
	namespace := e.namespace(t)
	user := e.user(t, namespace, "pusher", pusher)
	image := newImage(t)
	refused(t, "manifest without blobs", remote.Put(e.tag(t, namespace+"/app", "v1"), image, as(t, user)...), http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN")
	if _, err := e.Images.ImageV1().Images().Get(t.Context(), hash(t, image).String(), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("image afterwards: %v, want NotFound", err)
	}
}

// Behaviour 76: an image that is taken up by a stream of another namespace can be pulled there without
// copying data, and by nobody who may read neither.
func testCopiedTag(t *testing.T, e *environment) {
	source, target := e.namespace(t), e.namespace(t)+"-target"
	imageapi.CreateNamespace(t, e.Kube, target)
	user, reader := e.user(t, source, "pusher", pusher), e.user(t, target, "reader", puller)
	image := newImage(t)
	digest := hash(t, image)
	must(t, remote.Write(e.tag(t, source+"/app", "v1"), image, as(t, user)...))
	refused(t, "before the copy", pullError(t, e.digest(t, target+"/copy", digest), reader), http.StatusNotFound, "MANIFEST_UNKNOWN")

	stored, err := e.Images.ImageV1().Images().Get(t.Context(), digest.String(), metav1.GetOptions{})
	must(t, err)
	_, err = e.Images.ImageV1().ImageStreams(target).Create(t.Context(), &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Name: "copy"}}, metav1.CreateOptions{})
	must(t, err)
	stored.ObjectMeta = metav1.ObjectMeta{Name: stored.Name, Annotations: stored.Annotations}
	mapping := &imagev1.ImageStreamMapping{ObjectMeta: metav1.ObjectMeta{Name: "copy"}, Image: *stored, Tag: "v9"}
	_, err = e.Images.ImageV1().ImageStreamMappings(target).Create(t.Context(), mapping, metav1.CreateOptions{})
	must(t, err)

	pull(t, e.tag(t, target+"/copy", "v9"), reader)
	refused(t, "the source by the reader of the target", pullError(t, e.digest(t, source+"/app", digest), reader), http.StatusForbidden, "")
}

func pullError(t *testing.T, reference name.Reference, user authn.Authenticator) error {
	t.Helper()
	_, err := remote.Image(reference, as(t, user)...)
	return err
}

// Behaviours 35 and 77.
func testOutage(t *testing.T, e *environment) {
	namespace := e.namespace(t)
	repository := namespace + "/app"
	user := e.user(t, namespace, "pusher", pusher)
	image := newImage(t)
	tag, digest := e.tag(t, repository, "v1"), e.digest(t, repository, hash(t, image))
	must(t, remote.Write(tag, image, as(t, user)...))
	e.Stop()

	pull(t, digest, user)
	_, err := remote.Image(tag, as(t, user)...)
	refused(t, "pull by tag", err, http.StatusServiceUnavailable, "")
	fresh := newImage(t)
	refused(t, "push", remote.Write(e.tag(t, repository, "v2"), fresh, as(t, user)...), http.StatusServiceUnavailable, "")
	link := filepath.Join(e.storage, "docker/registry/v2/repositories", repository, "_manifests/revisions/sha256", hash(t, fresh).Hex, "link")
	if _, err := os.Stat(link); !os.IsNotExist(err) {
		t.Errorf("link of the refused push: %v, want none", err)
	}
}
