package snapshot

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/clock"

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
