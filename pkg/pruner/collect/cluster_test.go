package collect

import (
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/clock"

	imagev1 "image.alauda.io/api/image/v1"
	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	imagefake "image.alauda.io/client-go/clientset/versioned/fake"
)

// Behaviour 54: what the guards look at, and that not knowing is never taken for nothing.
func TestReadCluster(t *testing.T) {
	complete := &imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
		DockerImageLayers: []imagev1.ImageLayer{{Name: "x"}}}
	incomplete := &imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}}
	config := &imageregistryv1.Config{ObjectMeta: metav1.ObjectMeta{Name: "cluster", Annotations: map[string]string{imageregistryv1.BlockGCAnnotation: "true"}}}
	for name, test := range map[string]struct {
		objects []runtime.Object
		want    Cluster
	}{
		"empty":      {nil, Cluster{}},
		"complete":   {[]runtime.Object{complete}, Cluster{Images: 1}},
		"incomplete": {[]runtime.Object{complete, incomplete}, Cluster{Images: 2, Incomplete: incomplete.Name}},
		"blocked":    {[]runtime.Object{complete, config}, Cluster{Images: 1, Blocked: true}},
	} {
		got, err := ReadCluster(t.Context(), imagefake.NewClientset(test.objects...), clock.RealClock{})
		if err != nil || got != test.want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, test.want)
		}
	}
	for _, resource := range []string{"images", "configs"} {
		client := imagefake.NewClientset(complete, config)
		client.PrependReactor("*", resource, func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, errors.New("broken") })
		if _, err := ReadCluster(t.Context(), client, clock.RealClock{}); err == nil {
			t.Errorf("%s cannot be read: no error", resource)
		}
	}
}

// A server that leads back to the beginning must not be read for ever.
func TestReadClusterEnds(t *testing.T) {
	client := imagefake.NewClientset()
	pages := 0
	client.PrependReactor("list", "images", func(clienttesting.Action) (bool, runtime.Object, error) {
		pages++
		return true, &imagev1.ImageList{ListMeta: metav1.ListMeta{Continue: string(rune('a' + pages%2))}}, nil
	})
	if _, err := ReadCluster(t.Context(), client, clock.RealClock{}); err == nil || pages > 10 {
		t.Errorf("%d pages, error %v", pages, err)
	}
}
