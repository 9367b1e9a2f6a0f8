package references

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func podOf(name, owner, image string) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}}
	if owner != "" {
		pod.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: owner, Controller: ptr.To(true)}}
	}
	pod.Spec.Containers = []corev1.Container{{Name: "main", Image: image}}
	return pod
}

func TestOriginsNameObjectFieldAndController(t *testing.T) {
	index := NewIndex(streams{{"team", "app"}: false})
	index.RememberOrigins()
	byDigest := "quay.io/team/app@" + dig
	for _, pod := range []*corev1.Pod{podOf("b", "set", "host/team/app:v1"), podOf("a", "", "quay.io/team/app:v1"), podOf("c", "", byDigest), podOf("d", "", "x/team/app:$(TAG)")} {
		if err := index.AddObject(pod, Ages{Cutoff: now}); err != nil {
			t.Fatal(err)
		}
	}
	const path = "spec.containers[0].image"
	stream := Stream{"team", "app"}
	pod := func(name string) Source { return Source{"Pod", "ns", name} }
	for what, test := range map[string]struct{ got, want []Origin }{
		"tag":      {index.TagOrigins(stream, "v1"), []Origin{{Source: pod("a"), Path: path, Value: "quay.io/team/app:v1"}}},
		"digest":   {index.DigestOrigins(stream, dig), []Origin{{Source: pod("c"), Path: path, Value: byDigest}}},
		"anywhere": {index.AnyDigestOrigins(dig), []Origin{{Source: pod("c"), Path: path, Value: byDigest}}},
		"unclear":  {index.ProtectorOrigins(stream), []Origin{{Source: pod("d"), Path: path, Value: "x/team/app:$(TAG)"}}},
		"unused":   {index.TagOrigins(stream, "v2"), nil},
	} {
		if !slices.Equal(test.got, test.want) {
			t.Errorf("%s: %+v, want %+v", what, test.got, test.want)
		}
	}
	if got := podOrigins(index, "localhost/team/app:v1", "set"); len(got) != 2 || got[1].Owner != (Source{"ReplicaSet", "ns", "set"}) {
		t.Errorf("with a controller: %+v", got)
	}
}

// podOrigins adds one more Pod with a controller and returns who uses tag v1.
func podOrigins(index *Index, image, owner string) []Origin {
	_ = index.AddObject(podOf("e", owner, image), Ages{Cutoff: now})
	return index.TagOrigins(Stream{"team", "app"}, "v1")
}

func TestOriginsAreNotKeptUnasked(t *testing.T) {
	index := NewIndex(streams{{"team", "app"}: false})
	if got := podOrigins(index, "localhost/team/app:v1", ""); got != nil {
		t.Errorf("%+v", got)
	}
	if user, used := index.TagUser(Stream{"team", "app"}, "v1"); !used || user.Name != "e" {
		t.Errorf("used %v by %v", used, user)
	}
}
