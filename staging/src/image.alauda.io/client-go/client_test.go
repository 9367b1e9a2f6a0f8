// Package client_test holds the generated client to what its users rely on:
// paths and answers of the calls that are not plain resources, the field-managed
// fake, and informers.
package client_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	imagev1 "image.alauda.io/api/image/v1"
	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	applyimagev1 "image.alauda.io/client-go/applyconfigurations/image/v1"
	applyimageregistryv1 "image.alauda.io/client-go/applyconfigurations/imageregistry/v1"
	"image.alauda.io/client-go/clientset/versioned"
	"image.alauda.io/client-go/clientset/versioned/fake"
	"image.alauda.io/client-go/informers/externalversions"
)

// server answers every request with a body and remembers the last request line.
func server(t *testing.T, body string) (client *versioned.Clientset, last *string) {
	t.Helper()
	last = new(string)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*last = r.Method + " " + r.URL.Path
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	client, err := versioned.NewForConfig(&rest.Config{Host: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	return client, last
}

func TestSubresourcesOfAStream(t *testing.T) {
	client, last := server(t, `{"kind":"ImageStreamLayers","apiVersion":"image.alauda.io/v1","blobs":{"b":{"size":3,"mediaType":"m"}},"images":{"i":{"layers":["b"],"local":true,"config":null}}}`)
	layers, err := client.ImageV1().ImageStreams("ns").Layers(t.Context(), "app", metav1.GetOptions{})
	if err != nil || *layers.Blobs["b"].LayerSize != 3 || !layers.Images["i"].Local {
		t.Errorf("layers are %+v, %v", layers, err)
	}
	if want := "GET /apis/image.alauda.io/v1/namespaces/ns/imagestreams/app/layers"; *last != want {
		t.Errorf("request was %q, want %q", *last, want)
	}

	client, last = server(t, `{"kind":"SecretList","apiVersion":"image.alauda.io/v1","items":[{"metadata":{"name":"s"}}]}`)
	secrets, err := client.ImageV1().ImageStreams("ns").Secrets(t.Context(), "app", metav1.GetOptions{})
	if err != nil || len(secrets.Items) != 1 || secrets.Items[0].Name != "s" {
		t.Errorf("secrets are %+v, %v", secrets, err)
	}
	if want := "GET /apis/image.alauda.io/v1/namespaces/ns/imagestreams/app/secrets"; *last != want {
		t.Errorf("request was %q, want %q", *last, want)
	}
}

func TestMappingAnswersAStatus(t *testing.T) {
	client, last := server(t, `{"kind":"Status","apiVersion":"v1","status":"Success"}`)
	status, err := client.ImageV1().ImageStreamMappings("ns").Create(t.Context(), &imagev1.ImageStreamMapping{Tag: "v1"}, metav1.CreateOptions{})
	if err != nil || status.Status != metav1.StatusSuccess {
		t.Errorf("answer is %+v, %v", status, err)
	}
	if want := "POST /apis/image.alauda.io/v1/namespaces/ns/imagestreammappings"; *last != want {
		t.Errorf("request was %q, want %q", *last, want)
	}
}

func TestFakeMergesAppliedFields(t *testing.T) {
	client := fake.NewClientset(&imagev1.ImageStream{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "app"},
		Spec:       imagev1.ImageStreamSpec{Tags: []imagev1.TagReference{{Name: "a"}}},
	})
	applied := applyimagev1.ImageStream("app", "ns").WithSpec(applyimagev1.ImageStreamSpec().
		WithTags(applyimagev1.TagReference().WithName("b")))
	stream, err := client.ImageV1().ImageStreams("ns").Apply(t.Context(), applied, metav1.ApplyOptions{FieldManager: "test"})
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	if len(stream.Spec.Tags) != 2 {
		t.Errorf("tags are %v, want a and b merged by name", stream.Spec.Tags)
	}
	extracted, err := applyimagev1.ExtractImageStream(stream, "test")
	if err != nil || len(extracted.Spec.Tags) != 1 || *extracted.Spec.Tags[0].Name != "b" {
		t.Errorf("own fields are %+v, %v, want tag b", extracted, err)
	}

	config := applyimageregistryv1.Config("cluster").WithSpec(applyimageregistryv1.ConfigSpec().
		WithManagementState(imageregistryv1.Managed))
	if _, err := client.ImageregistryV1().Configs().Apply(t.Context(), config, metav1.ApplyOptions{FieldManager: "test"}); err != nil {
		t.Errorf("apply Config: %v", err)
	}
}

func TestInformersFillListers(t *testing.T) {
	client := fake.NewClientset(&imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: "sha256:a"}})
	factory := externalversions.NewSharedInformerFactory(client, time.Hour)
	images := factory.Image().V1().Images()
	streams := factory.Image().V1().ImageStreams().Informer()
	images.Informer()
	factory.Start(t.Context().Done())
	for kind, synced := range factory.WaitForCacheSync(t.Context().Done()) {
		if !synced {
			t.Fatalf("%v did not synchronise", kind)
		}
	}
	if _, err := images.Lister().Get("sha256:a"); err != nil || len(streams.GetStore().List()) != 0 {
		t.Errorf("the lister has no image: %v", err)
	}
}
