//go:build component

package apiserver

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	imagev1 "image.alauda.io/api/image/v1"
)

// requestLimit is what no request may take: kube-apiserver gives up at this time.
const requestLimit = time.Minute

// timed runs one step within requestLimit and says how long it took.
func timed(t *testing.T, what string, step func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), requestLimit)
	defer cancel()
	start := time.Now()
	if err := step(ctx); err != nil {
		t.Errorf("%s: %.500v", what, err)
	}
	t.Logf("%s: %s", what, time.Since(start).Round(time.Millisecond))
}

// testManyTags works on streams with 5,000 tags as users and the registry do.
func testManyTags(t *testing.T, e *environment) {
	const count = 5000
	namespace := e.newNamespace(t)
	api := e.images.ImageV1()
	many := stream("many")
	for i := range count {
		tag := dockerTag(fmt.Sprint("t", i), fmt.Sprint("example.test/org/app:", i))
		tag.Reference = true
		many.Spec.Tags = append(many.Spec.Tags, *tag)
	}
	var current *imagev1.ImageStream
	timed(t, "create", func(ctx context.Context) (err error) {
		current, err = api.ImageStreams(namespace).Create(ctx, many, metav1.CreateOptions{})
		return err
	})
	if t.Failed() {
		return
	}
	if len(current.Status.Tags) != count {
		t.Errorf("%d tags in the status, want %d", len(current.Status.Tags), count)
	}
	timed(t, "update of all tags", func(ctx context.Context) (err error) {
		for i := range current.Spec.Tags {
			current.Spec.Tags[i].From.Name += "-next"
		}
		current, err = api.ImageStreams(namespace).Update(ctx, current, metav1.UpdateOptions{})
		return err
	})
	tracking := stream("tracking")
	for i := range count {
		tag := dockerTag(fmt.Sprintf("t%04d", i), "t0000")
		tag.From.Kind = "ImageStreamTag"
		if i == 0 {
			tag.From.Name = "pushed"
		}
		tracking.Spec.Tags = append(tracking.Spec.Tags, *tag)
	}
	timed(t, "create of tracking tags", func(ctx context.Context) error {
		_, err := api.ImageStreams(namespace).Create(ctx, tracking, metav1.CreateOptions{})
		return err
	})
	timed(t, "mapping that moves all of them", func(ctx context.Context) error {
		_, err := api.ImageStreamMappings(namespace).Create(ctx, mapping("tracking", "pushed", namespace), metav1.CreateOptions{})
		return err
	})
	timed(t, "list of tags", func(ctx context.Context) error {
		list, err := api.ImageStreamTags(namespace).List(ctx, metav1.ListOptions{})
		if err == nil && len(list.Items) != count+1 {
			err = fmt.Errorf("%d tags, want %d", len(list.Items), count+1)
		}
		return err
	})
	timed(t, "list of all tags of spec and status", func(ctx context.Context) error {
		list, err := api.ImageTags(namespace).List(ctx, metav1.ListOptions{})
		if err == nil && len(list.Items) != 2*count+1 {
			err = fmt.Errorf("%d tags, want %d", len(list.Items), 2*count+1)
		}
		return err
	})
	timed(t, "update of one tag", func(ctx context.Context) error {
		_, err := api.ImageStreamTags(namespace).Update(ctx, &imagev1.ImageStreamTag{ObjectMeta: metav1.ObjectMeta{Name: "many:t7"}, Tag: dockerTag("t7", "example.test/org/app:other")}, metav1.UpdateOptions{})
		return err
	})
	timed(t, "delete of one tag", func(ctx context.Context) error {
		return api.ImageStreamTags(namespace).Delete(ctx, "many:t8", metav1.DeleteOptions{})
	})
	timed(t, "server-side apply of all tags", func(ctx context.Context) error {
		body, err := json.Marshal(&imagev1.ImageStream{
			TypeMeta:   metav1.TypeMeta{APIVersion: "image.alauda.io/v1", Kind: "ImageStream"},
			ObjectMeta: metav1.ObjectMeta{Name: "applied"}, Spec: many.Spec,
		})
		if err != nil {
			return err
		}
		_, err = api.ImageStreams(namespace).Patch(ctx, "applied", "application/apply-patch+yaml", body, metav1.PatchOptions{FieldManager: "gitops"})
		return tolerateTooLarge(err)
	})
	timed(t, "a hundred thousand mistakes", func(ctx context.Context) error {
		wrong := stream("wrong")
		for i := range 50_000 {
			wrong.Spec.Tags = append(wrong.Spec.Tags, imagev1.TagReference{Name: fmt.Sprint("a b", i)})
		}
		_, err := api.ImageStreams(namespace).Create(ctx, wrong, metav1.CreateOptions{})
		return badRequest{reason: metav1.StatusReasonInvalid, field: "spec.tags[a b0].name"}.judge(err)
	})
}

// tolerateTooLarge takes the refusal of what is too large as an answer.
func tolerateTooLarge(err error) error {
	if apierrors.IsRequestEntityTooLargeError(err) {
		return nil
	}
	return err
}

// testLargeImages stores Images with 1.5 MiB of metadata, and refuses what cannot be stored with a Status that
// says so. What is stored comes back as it was.
func testLargeImages(t *testing.T, e *environment) {
	const size = 3 << 19
	api := e.images.ImageV1()
	random := make([]byte, size*3/4)
	source := rand.NewChaCha8([32]byte{})
	if _, err := source.Read(random); err != nil {
		t.Fatal(err)
	}
	for what, test := range map[string]struct {
		text   string
		stored bool
	}{
		"repetitive": {strings.Repeat("PATH=/usr/bin ", size/14), true},
		"random":     {base64.StdEncoding.EncodeToString(random), false},
	} {
		name := digestOf(t.Name() + what)
		metadata := fmt.Sprintf(`{"apiVersion":"image.alauda.io/1.0","kind":"DockerImage","Id":"x","Config":{"Env":[%q]}}`, test.text)
		image := &imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: name}, DockerImageReference: "example.test/app", DockerImageMetadata: runtime.RawExtension{Raw: []byte(metadata)}}
		timed(t, what, func(ctx context.Context) error {
			_, err := api.Images().Create(ctx, image, metav1.CreateOptions{})
			if err != nil && !test.stored {
				return badRequest{reason: metav1.StatusReasonRequestEntityTooLarge}.judge(err)
			}
			return err
		})
		stored, err := api.Images().Get(t.Context(), name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err) && !test.stored:
		case err != nil:
			t.Errorf("%s: %v", what, err)
		case !strings.Contains(string(stored.DockerImageMetadata.Raw), test.text):
			t.Errorf("%s: other metadata came back (%d bytes)", what, len(stored.DockerImageMetadata.Raw))
		default:
			if err := api.Images().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		}
	}
}

// testLargeIndex maps an index with 1,000 children, as the registry does, and reads what the stream then holds.
func testLargeIndex(t *testing.T, e *environment) {
	const count = 1000
	namespace := e.newNamespace(t)
	api := e.images.ImageV1()
	if _, err := api.ImageStreams(namespace).Create(t.Context(), stream("app"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	index := mapping("app", "all", namespace)
	index.Image.DockerImageManifestMediaType = "application/vnd.oci.image.index.v1+json"
	index.Image.DockerImageLayers = nil
	for i := range count {
		index.Image.DockerImageManifests = append(index.Image.DockerImageManifests, imagev1.ImageManifest{
			Digest: digestOf(fmt.Sprint(namespace, i)), MediaType: "application/vnd.oci.image.manifest.v1+json",
			ManifestSize: 7, Architecture: "amd64", OS: "linux",
		})
	}
	// Two of the children exist.
	for i := range 2 {
		child := mapping("app", fmt.Sprint("child", i), fmt.Sprint(namespace, i))
		if _, err := api.ImageStreamMappings(namespace).Create(t.Context(), child, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	timed(t, "mapping", func(ctx context.Context) error {
		_, err := api.ImageStreamMappings(namespace).Create(ctx, index, metav1.CreateOptions{})
		return err
	})
	timed(t, "layers", func(ctx context.Context) error {
		contents, err := api.ImageStreams(namespace).Layers(ctx, "app", metav1.GetOptions{})
		if err != nil {
			return err
		}
		missing := 0
		for _, image := range contents.Images {
			if image.ImageMissing {
				missing++
			}
		}
		if len(contents.Images) != count+1 || missing != count-2 || len(contents.Images[index.Image.Name].Manifests) != count {
			return fmt.Errorf("%d images, %d of them missing; want %d and %d", len(contents.Images), missing, count+1, count-2)
		}
		return nil
	})
	timed(t, "a child of the index", func(ctx context.Context) error {
		_, err := api.ImageStreamImages(namespace).Get(ctx, "app@"+digestOf(fmt.Sprint(namespace, 1)), metav1.GetOptions{})
		return err
	})
}
