package registry

import (
	"errors"
	"net/url"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kubefake "k8s.io/client-go/kubernetes/fake"

	imagev1 "image.alauda.io/api/image/v1"
	imagefake "image.alauda.io/client-go/clientset/versioned/fake"
)

func TestWhereTheRegistryIs(t *testing.T) {
	public := func(hosts string) runtime.Object {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "image-registry-system", Name: "image-registry-public"}, Data: map[string]string{"externalRegistryHostnames": hosts}}
	}
	image := func(name, reference string, day int, managed string) runtime.Object {
		return &imagev1.Image{
			ObjectMeta: metav1.ObjectMeta{
				Name: name, CreationTimestamp: metav1.NewTime(time.Date(2030, 1, day, 0, 0, 0, 0, time.UTC)),
				Annotations: map[string]string{imagev1.ManagedByAlaudaAnnotation: managed},
			},
			DockerImageReference: reference,
		}
	}
	images := []runtime.Object{image("a", "old.example.test/ns/app@x", 1, "true"), image("b", "young.example.test:5000/ns/app@x", 3, "true"), image("c", "quay.io/ns/app@x", 5, "false")}
	for name, test := range map[string]struct {
		inPod  bool
		kube   []runtime.Object
		images []runtime.Object
		want   string
	}{
		"in a Pod":                 {true, []runtime.Object{public("other")}, images, "https://image-registry.image-registry-system.svc:5000"},
		"published":                {false, []runtime.Object{public("first.example.test\nsecond.example.test")}, images, "https://first.example.test"},
		"nothing published":        {false, []runtime.Object{public("")}, images, "https://young.example.test:5000"},
		"no ConfigMap":             {false, nil, images, "https://young.example.test:5000"},
		"only images of others":    {false, nil, images[2:], ""},
		"empty cluster":            {false, nil, nil, ""},
		"reference without a host": {false, nil, []runtime.Object{image("a", "ns/app@x", 1, "true")}, ""},
	} {
		finder := Finder{InPod: test.inPod, Kube: kubefake.NewClientset(test.kube...), Image: imagefake.NewClientset(test.images...), PageSize: 2,
			Parse: func(text string) (*url.URL, error) { return url.Parse("https://" + text) }}
		got, err := finder.Find(t.Context())
		switch {
		case test.want == "" && !errors.Is(err, ErrNoAddress):
			t.Errorf("%s: %v, %v, want no address", name, got, err)
		case test.want != "" && (err != nil || got.String() != test.want):
			t.Errorf("%s: %v, %v, want %s", name, got, err, test.want)
		}
	}
}
