//go:build component

package imagequota

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/test/imageapi"
)

// TestLimits runs one image API for limits and the list of allowed registries.
func TestLimits(t *testing.T) {
	e := start(t)
	t.Run("Image", func(t *testing.T) { imageSize(t, e) })
	t.Run("Stream", func(t *testing.T) { streamLimits(t, e) })
	t.Run("Registries", func(t *testing.T) { allowedRegistries(t, e) })
}

func (e *environment) limit(t *testing.T, ns, name string, kind corev1.LimitType, pairs ...string) {
	t.Helper()
	_, err := e.Kube.CoreV1().LimitRanges(ns).Create(t.Context(), &corev1.LimitRange{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{Type: kind, Max: list(pairs...)}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// refusedSoon waits until the replicas know a limit, and checks the text of the refusal. What is asked
// must be refused by that limit alone.
func refusedSoon(t *testing.T, ask func(ctx context.Context) error, want string) {
	t.Helper()
	imageapi.Eventually(t, "the limit holds", func(ctx context.Context) error {
		err := ask(ctx)
		switch {
		case err == nil:
			return errors.New("it passed")
		case !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), want):
			return fmt.Errorf("got %w, want %s", err, want)
		}
		return nil
	})
}

// Behaviour image-api 51.
func imageSize(t *testing.T, e *environment) {
	ns := e.namespace(t)
	e.stream(t, ns, "app")
	e.limit(t, ns, "images", imagev1.LimitTypeImage, "storage", "1Gi")
	for i, client := range e.replicas {
		refusedSoon(t, func(ctx context.Context) error {
			mapping := pushed(ns, "app", "large", fmt.Sprint("large", i), 1<<30+1<<20)
			_, err := client.ImageV1().ImageStreamMappings(ns).Create(ctx, mapping, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return err
		}, "requested usage of storage exceeds the maximum limit per alauda.io/Image (1025Mi > 1Gi)")
	}
	for _, word := range []string{"equal", "another"} {
		if err := push(t.Context(), e.replicas[0], pushed(ns, "app", word, word, 1<<30)); err != nil {
			t.Errorf("an image of exactly the limit: %v", err)
		}
	}
	index := pushed(ns, "app", "index", "index", 2<<30)
	index.Image.DockerImageManifestMediaType = "application/vnd.oci.image.index.v1+json"
	index.Image.DockerImageLayers = nil
	for _, child := range []string{"equal", "another"} {
		index.Image.DockerImageManifests = append(index.Image.DockerImageManifests, imagev1.ImageManifest{
			Digest: digestOf(ns + child), MediaType: "application/vnd.oci.image.manifest.v1+json", ManifestSize: 7, Architecture: child, OS: "linux",
		})
	}
	if err := push(t.Context(), e.replicas[0], index); err != nil {
		t.Errorf("an index of two such images: %v", err)
	}
}

// Behaviour image-api 52.
func streamLimits(t *testing.T, e *environment) {
	ns := e.namespace(t)
	e.stream(t, ns, "app")
	for _, tag := range []string{"v1", "v2"} {
		if err := push(t.Context(), e.replicas[0], pushed(ns, "app", tag, tag, 1)); err != nil {
			t.Fatal(err)
		}
	}
	e.limit(t, ns, "wide", imagev1.LimitTypeImageStream, tagsName, "9")
	e.limit(t, ns, "narrow", imagev1.LimitTypeImageStream, tagsName, "1")
	for _, client := range e.replicas {
		refusedSoon(t, func(ctx context.Context) error {
			tag := &imagev1.ImageStreamTag{
				ObjectMeta: metav1.ObjectMeta{Name: "app:v3"},
				Tag:        &imagev1.TagReference{From: &corev1.ObjectReference{Kind: "ImageStreamTag", Name: "v1"}},
			}
			_, err := client.ImageV1().ImageStreamTags(ns).Create(ctx, tag, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return err
		}, "requested usage of alauda.io/image-tags exceeds the maximum limit per alauda.io/ImageStream (3 > 1)")
	}
	streams := e.replicas[1].ImageV1().ImageStreams(ns)
	stream, err := streams.Get(t.Context(), "app", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stream.Labels = map[string]string{"a": "b"}
	if _, err := streams.Update(t.Context(), stream, metav1.UpdateOptions{}); err != nil {
		t.Errorf("a label on a stream that is over the limit: %v", err)
	}
	if err := e.replicas[1].ImageV1().ImageStreamTags(ns).Delete(t.Context(), "app:v2", metav1.DeleteOptions{}); err != nil {
		t.Errorf("a deletion: %v", err)
	}
}

// Behaviours image-api 44 and 66: the list is read again while the server runs.
func allowedRegistries(t *testing.T, e *environment) {
	ns := e.namespace(t)
	client := e.replicas[1].ImageV1()
	stream := func(name, from string) *imagev1.ImageStream {
		return &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: imagev1.ImageStreamSpec{
			Tags: []imagev1.TagReference{{Name: "v1", Reference: true, From: &corev1.ObjectReference{Kind: "DockerImage", Name: from}}},
		}}
	}
	before, err := client.ImageStreams(ns).Create(t.Context(), stream("before", "evil.example.org/a/b:1"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	e.configure(t, "imageImport: {allowedRegistriesForImport: [{domainName: quay.io}]}\n")
	imageapi.Eventually(t, "the list holds", func(ctx context.Context) error {
		_, err := client.ImageStreams(ns).Create(ctx, stream("after", "evil.example.org/a/b:1"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		want := "spec.tags[v1].from.name: Forbidden: images may not be imported from registry evil.example.org:443, only from quay.io:443"
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), want) {
			return fmt.Errorf("got %v, want %s", err, want)
		}
		return nil
	})
	if _, err := client.ImageStreams(ns).Create(t.Context(), stream("allowed", "quay.io/a/b:1"), metav1.CreateOptions{}); err != nil {
		t.Errorf("a registry that is allowed: %v", err)
	}
	before.Labels = map[string]string{"a": "b"}
	if _, err := client.ImageStreams(ns).Update(t.Context(), before, metav1.UpdateOptions{}); err != nil {
		t.Errorf("a stream from before: %v", err)
	}
}
