package snapshot

import (
	"context"
	"fmt"
	"math"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/clock"

	imagev1 "image.alauda.io/api/image/v1"
	imagefake "image.alauda.io/client-go/clientset/versioned/fake"
)

func limitRange(namespace, name, kind, greatest string) *corev1.LimitRange {
	return &corev1.LimitRange{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{
			{Type: corev1.LimitTypeContainer, Max: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1")}},
			{Type: corev1.LimitType(kind), Max: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(greatest)}},
		}},
	}
}

// Behaviour 44.
func TestLimitsAreReadInOverSizeModeOnly(t *testing.T) {
	kube := fake.NewClientset(
		limitRange("a", "wide", "alauda.io/Image", "1Gi"), limitRange("a", "narrow", "alauda.io/Image", "1Mi"),
		limitRange("b", "other", "alauda.io/ImageStream", "1Mi"), limitRange("c", "c", "alauda.io/Image", "2Mi"),
	)
	source := Source{Kube: kube, Image: imagefake.NewClientset(), Clock: clock.RealClock{}, ChunkSize: 500}
	for _, overSize := range []bool{false, true} {
		source.OverSize = overSize
		kube.ClearActions()
		snap, err := source.Take(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		asked := false
		for _, action := range kube.Actions() {
			asked = asked || action.GetResource().Resource == "limitranges"
		}
		want := "map[]"
		if overSize {
			want = "map[a:1048576 c:2097152]"
		}
		if got := fmt.Sprint(snap.Limits); got != want || asked != overSize {
			t.Errorf("over-size %t: limits %s, asked %t, want %s", overSize, got, asked, want)
		}
	}
}

// Behaviour 44.
func TestTheLargerSizeCounts(t *testing.T) {
	layers := []imagev1.ImageLayer{{Name: "a", LayerSize: 5}, {Name: "a", LayerSize: 5}, {Name: "b", LayerSize: 6}, {Name: "c", LayerSize: -1}}
	for raw, want := range map[string]int64{"": 11, `{"Size":10}`: 11, `{"Size":12}`: 12, "[": 11} {
		image := &imagev1.Image{DockerImageLayers: layers}
		image.DockerImageMetadata.Raw = []byte(raw)
		if got := ImageOf(image).Size; got != want {
			t.Errorf("metadata %q: size %d, want %d", raw, got, want)
		}
	}
	huge := &imagev1.Image{DockerImageLayers: []imagev1.ImageLayer{{Name: "a", LayerSize: math.MaxInt64}, {Name: "b", LayerSize: 1}}}
	if got := ImageOf(huge).Size; got != math.MaxInt64 {
		t.Errorf("size %d of layers that are too large to add", got)
	}
}
