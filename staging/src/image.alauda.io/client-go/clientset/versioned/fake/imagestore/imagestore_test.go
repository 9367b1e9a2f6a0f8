package imagestore_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/client-go/clientset/versioned/fake"
	"image.alauda.io/client-go/clientset/versioned/fake/imagestore"
	typed "image.alauda.io/client-go/clientset/versioned/typed/image/v1"
)

const ns = "team-a"

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func digest(word string) string {
	sum := sha256.Sum256([]byte(word))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func stream(name string, tags ...imagev1.TagReference) *imagev1.ImageStream {
	return &imagev1.ImageStream{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: map[string]string{"name": name}, Generation: 1},
		Spec:       imagev1.ImageStreamSpec{Tags: tags},
	}
}

func pushed(word string, children ...string) imagev1.Image {
	image := imagev1.Image{
		ObjectMeta:                   metav1.ObjectMeta{Name: digest(word), Annotations: map[string]string{imagev1.ManagedByAlaudaAnnotation: "true"}},
		DockerImageManifestMediaType: "application/vnd.oci.image.manifest.v1+json",
		DockerImageMetadata:          runtime.RawExtension{Raw: []byte(`{"Id":"` + digest(word+" config") + `"}`)},
		DockerImageLayers:            []imagev1.ImageLayer{{Name: digest(word + " layer"), LayerSize: 7, MediaType: "layer"}},
	}
	if len(children) > 0 {
		image.DockerImageManifestMediaType, image.DockerImageLayers = "application/vnd.oci.image.index.v1+json", nil
	}
	for _, child := range children {
		image.DockerImageManifests = append(image.DockerImageManifests, imagev1.ImageManifest{Digest: digest(child), MediaType: "application/vnd.oci.image.manifest.v1+json"})
	}
	return image
}

// each runs a test with either kind of fake clientset.
func each(t *testing.T, objects func() []runtime.Object, test func(t *testing.T, api typed.ImageV1Interface)) {
	options := imagestore.Options{Host: "registry:5000", Now: func() time.Time { return now }}
	t.Run("with field management", func(t *testing.T) {
		test(t, imagestore.NewClientset(options, objects()...).ImageV1())
	})
	t.Run("simple", func(t *testing.T) {
		client := fake.NewSimpleClientset(objects()...) //nolint:staticcheck // many tests still use it
		imagestore.Install(client, options)
		test(t, client.ImageV1())
	})
}

func none() []runtime.Object { return nil }

func push(t *testing.T, api typed.ImageV1Interface, name, tag string, image imagev1.Image) {
	t.Helper()
	status, err := api.ImageStreamMappings(ns).Create(t.Context(), &imagev1.ImageStreamMapping{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Image: image, Tag: tag,
	}, metav1.CreateOptions{})
	if err != nil || status.Status != metav1.StatusSuccess {
		t.Fatalf("mapping of %s into %s:%s: %+v, %v", image.Name, name, tag, status, err)
	}
}

func get(t *testing.T, api typed.ImageV1Interface, name string) *imagev1.ImageStream {
	t.Helper()
	found, err := api.ImageStreams(ns).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestMapping(t *testing.T) {
	each(t, func() []runtime.Object {
		return []runtime.Object{stream("app",
			imagev1.TagReference{Name: "b", From: &corev1.ObjectReference{Kind: "ImageStreamTag", Name: "v1"}},
			imagev1.TagReference{Name: "c", From: &corev1.ObjectReference{Kind: "ImageStreamTag", Name: "app:b"}},
			imagev1.TagReference{Name: "v1", From: &corev1.ObjectReference{Kind: "ImageStreamTag", Name: "c"}},
		), stream("other")}
	}, func(t *testing.T, api typed.ImageV1Interface) {
		_, err := api.ImageStreamMappings(ns).Create(t.Context(), &imagev1.ImageStreamMapping{ObjectMeta: metav1.ObjectMeta{Name: "absent"}, Image: pushed("one"), Tag: "v1"}, metav1.CreateOptions{})
		var status apierrors.APIStatus
		if !apierrors.IsNotFound(err) || !errors.As(err, &status) || status.Status().Details.Kind != "imagestreammappings" || status.Status().Details.Name != "absent" {
			t.Errorf("a missing stream gave %v", err)
		}
		push(t, api, "app", "v1", pushed("one"))
		push(t, api, "app", "v1", pushed("two"))
		push(t, api, "app", "v1", pushed("two"))
		for _, tag := range get(t, api, "app").Status.Tags {
			if len(tag.Items) != 2 || tag.Items[0].Image != digest("two") || tag.Items[0].DockerImageReference != "registry:5000/team-a/app@"+digest("two") ||
				tag.Items[0].Generation != 1 || !tag.Items[0].Created.Time.Equal(now) {
				t.Errorf("tag %s has %+v", tag.Tag, tag.Items)
			}
		}
		if got := len(get(t, api, "app").Status.Tags); got != 3 {
			t.Errorf("%d tags have a history, want all 3", got)
		}
		if image, err := api.Images().Get(t.Context(), digest("one"), metav1.GetOptions{}); err != nil || image.Namespace != "" || image.CreationTimestamp.IsZero() {
			t.Errorf("the image is %+v, %v", image, err)
		}
		// A push of what is there refers to the stream that it goes to.
		again := pushed("one")
		again.DockerImageReference = "registry:5000/team-a/app@" + again.Name
		push(t, api, "other", "v1", again)
		if got := get(t, api, "other").Status.Tags[0].Items[0].DockerImageReference; got != "registry:5000/team-a/other@"+again.Name {
			t.Errorf("the reference is %s", got)
		}
	})
}

func TestMappingMarksAnImportedImage(t *testing.T) {
	imported := pushed("one")
	imported.Annotations = nil
	each(t, func() []runtime.Object { return []runtime.Object{stream("app"), imported.DeepCopy()} }, func(t *testing.T, api typed.ImageV1Interface) {
		push(t, api, "app", "v1", pushed("one"))
		if image, err := api.Images().Get(t.Context(), imported.Name, metav1.GetOptions{}); err != nil || image.Annotations[imagev1.ManagedByAlaudaAnnotation] != "true" {
			t.Errorf("annotations are %v, %v", image.Annotations, err)
		}
	})
}

func TestTags(t *testing.T) {
	each(t, none, func(t *testing.T, api typed.ImageV1Interface) {
		tags := api.ImageStreamTags(ns)
		wanted := func(name string, policy imagev1.TagReferencePolicyType) *imagev1.ImageStreamTag {
			return &imagev1.ImageStreamTag{
				ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Annotations: map[string]string{"note": "spec"}},
				Tag: &imagev1.TagReference{
					From: &corev1.ObjectReference{Kind: "DockerImage", Name: "quay.io/org/app:1"}, ReferencePolicy: imagev1.TagReferencePolicy{Type: policy},
				},
			}
		}
		if _, err := tags.Create(t.Context(), wanted("app:v1", ""), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
			t.Fatal(err)
		}
		if _, err := api.ImageStreams(ns).Get(t.Context(), "app", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("a dry run created a stream: %v", err)
		}
		created, err := tags.Create(t.Context(), wanted("app:v1", imagev1.LocalTagReferencePolicy), metav1.CreateOptions{})
		if err != nil || created.Tag.Name != "v1" || *created.Tag.Generation != 1 {
			t.Fatalf("created %+v, %v", created, err)
		}
		if _, err := tags.Create(t.Context(), wanted("app:v1", ""), metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
			t.Errorf("creation again gave %v", err)
		}
		if _, err := tags.Get(t.Context(), "app:v1", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("a tag without image gave %v", err)
		}
		if _, err := tags.Get(t.Context(), "app", metav1.GetOptions{}); !apierrors.IsBadRequest(err) {
			t.Errorf("a name without tag gave %v", err)
		}
		imported := pushed("one")
		imported.Annotations, imported.DockerImageReference, imported.DockerImageManifest = nil, "quay.io/org/app@"+imported.Name, "{}"
		push(t, api, "app", "v1", imported)
		push(t, api, "app", "plain", imported)
		for name, want := range map[string]string{"app:v1": "registry:5000/team-a/app@" + imported.Name, "app:plain": imported.DockerImageReference} {
			tag, err := tags.Get(t.Context(), name, metav1.GetOptions{})
			if err != nil || tag.Image.Name != imported.Name || tag.Image.DockerImageReference != want || tag.Image.DockerImageManifest != "" {
				t.Errorf("%s shows %+v, %v; want %s", name, tag.Image, err, want)
			}
			if name == "app:v1" && (tag.Annotations["note"] != "spec" || tag.Image.Annotations["note"] != "spec") {
				t.Errorf("annotations are %v and %v", tag.Annotations, tag.Image.Annotations)
			}
		}
		updated, err := tags.Update(t.Context(), wanted("app:v1", imagev1.SourceTagReferencePolicy), metav1.UpdateOptions{})
		if err != nil || updated.Image.DockerImageReference != imported.DockerImageReference || *updated.Tag.Generation != 2 {
			t.Errorf("updated %+v, %v", updated, err)
		}
		if _, err := tags.Update(t.Context(), &imagev1.ImageStreamTag{ObjectMeta: metav1.ObjectMeta{Name: "app:none"}}, metav1.UpdateOptions{}); !apierrors.IsBadRequest(err) {
			t.Errorf("an update without tag gave %v", err)
		}
		if err := tags.Delete(t.Context(), "app:v1", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := tags.Delete(t.Context(), "app:v1", metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("deletion again gave %v", err)
		}
		if left := get(t, api, "app"); len(left.Spec.Tags) != 0 || len(left.Status.Tags) != 1 {
			t.Errorf("the stream is left with %+v", left)
		}
		if _, err := tags.Patch(t.Context(), "app:plain", "application/merge-patch+json", []byte("{}"), metav1.PatchOptions{}); !apierrors.IsMethodNotSupported(err) {
			t.Errorf("a patch gave %v", err)
		}
	})
}

func TestListOfTags(t *testing.T) {
	each(t, func() []runtime.Object { return []runtime.Object{stream("b"), stream("a")} }, func(t *testing.T, api typed.ImageV1Interface) {
		for _, name := range []string{"b", "a"} {
			for _, tag := range []string{"v2", "v1"} {
				push(t, api, name, tag, pushed(name+tag))
			}
		}
		for _, test := range []struct {
			namespace string
			options   metav1.ListOptions
			want      []string
		}{
			{ns, metav1.ListOptions{}, []string{"a:v1", "a:v2", "b:v1", "b:v2"}},
			{"", metav1.ListOptions{}, []string{"a:v1", "a:v2", "b:v1", "b:v2"}},
			{"team-b", metav1.ListOptions{}, nil},
			{ns, metav1.ListOptions{LabelSelector: "name=b"}, []string{"b:v1", "b:v2"}},
			{ns, metav1.ListOptions{FieldSelector: "metadata.name=b:v2"}, []string{"b:v2"}},
		} {
			list, err := api.ImageStreamTags(test.namespace).List(t.Context(), test.options)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, item := range list.Items {
				names = append(names, item.Name)
				if item.Image.Name == "" || len(item.Image.DockerImageLayers) != 0 {
					t.Errorf("%s lists image %+v, want its name and pull spec", item.Name, item.Image)
				}
			}
			if !slices.Equal(names, test.want) {
				t.Errorf("in %q with %+v: %v, want %v", test.namespace, test.options, names, test.want)
			}
		}
	})
}

func TestLayers(t *testing.T) {
	imported, late := pushed("imported"), pushed("late")
	imported.Annotations = nil
	late.CreationTimestamp = metav1.NewTime(now.Add(time.Second))
	each(t, func() []runtime.Object { return []runtime.Object{stream("app"), late.DeepCopy()} }, func(t *testing.T, api typed.ImageV1Interface) {
		push(t, api, "app", "child", pushed("child"))
		push(t, api, "app", "index", pushed("index", "child", "late", "absent"))
		foreign := imported.DeepCopy()
		foreign.DockerImageReference = "quay.io/org/app@" + foreign.Name
		push(t, api, "app", "imported", *foreign)
		layers, err := api.ImageStreams(ns).Layers(t.Context(), "app", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for word, want := range map[string]imagev1.ImageBlobReferences{
			"child": {Local: true}, "index": {Local: true}, "late": {}, "imported": {}, "absent": {ImageMissing: true},
		} {
			got, found := layers.Images[digest(word)]
			if !found || got.Local != want.Local || got.ImageMissing != want.ImageMissing {
				t.Errorf("%s is %+v, want local %t and missing %t", word, got, want.Local, want.ImageMissing)
			}
		}
		if blob := layers.Blobs[digest("child layer")]; blob.LayerSize == nil || *blob.LayerSize != 7 {
			t.Errorf("the layer is %+v", blob)
		}
		if config := layers.Images[digest("child")].Config; config == nil || *config != digest("child config") || layers.Blobs[*config].MediaType != "application/vnd.oci.image.config.v1+json" {
			t.Errorf("the config is %v", config)
		}
		if children := layers.Images[digest("index")].Manifests; len(children) != 3 {
			t.Errorf("the index has children %v", children)
		}
		if _, err := api.ImageStreams(ns).Layers(t.Context(), "absent", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("layers of no stream gave %v", err)
		}
		for name, check := range map[string]func(error) bool{
			"app@" + digest("late"):       func(err error) bool { return err == nil },
			"app@" + digest("child")[:20]: func(err error) bool { return err == nil },
			"app@sha256:":                 apierrors.IsConflict,
			"app@ffffffff":                apierrors.IsNotFound,
			"app":                         apierrors.IsBadRequest,
		} {
			if _, err := api.ImageStreamImages(ns).Get(t.Context(), name, metav1.GetOptions{}); !check(err) {
				t.Errorf("image %s gave %v", name, err)
			}
		}
	})
}

// Tests inject refusals in front of the views.
func TestReactorsOfTestsComeFirst(t *testing.T) {
	client := imagestore.NewClientset(imagestore.Options{}, stream("app"))
	client.PrependReactor("create", "imagestreammappings", func(action clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(action.GetResource().GroupResource(), "app", errors.New("the quota is full"))
	})
	_, err := client.ImageV1().ImageStreamMappings(ns).Create(t.Context(), &imagev1.ImageStreamMapping{ObjectMeta: metav1.ObjectMeta{Name: "app"}, Tag: "v1"}, metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("%v, want Forbidden", err)
	}
}
