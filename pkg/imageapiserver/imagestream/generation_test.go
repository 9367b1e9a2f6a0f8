package imagestream

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// Behaviour 14.
func TestTagChanged(t *testing.T) {
	seven, zero := int64(7), int64(0)
	base := func() imageapi.TagReference {
		return imageapi.TagReference{
			From:         &corev1.ObjectReference{Kind: "DockerImage", Name: "a/b:c"},
			Generation:   &seven,
			ImportPolicy: imageapi.TagImportPolicy{ImportMode: imageapi.ImportModeLegacy},
		}
	}
	tests := []struct {
		name    string
		change  func(*imageapi.TagReference)
		changed bool
	}{
		{"nothing", func(*imageapi.TagReference) {}, false},
		{"kind", func(t *imageapi.TagReference) { t.From.Kind = "ImageStreamTag" }, true},
		{"namespace", func(t *imageapi.TagReference) { t.From.Namespace = "other" }, true},
		{"own namespace", func(t *imageapi.TagReference) { t.From.Namespace = "team-a" }, false},
		{"name", func(t *imageapi.TagReference) { t.From.Name = "a/b:d" }, true},
		{"reference", func(t *imageapi.TagReference) { t.Reference = true }, true},
		{"import mode", func(t *imageapi.TagReference) { t.ImportPolicy.ImportMode = imageapi.ImportModePreserveOriginal }, true},
		{"insecure", func(t *imageapi.TagReference) { t.ImportPolicy.Insecure = true }, true},
		{"zero generation", func(t *imageapi.TagReference) { t.Generation = &zero }, true},
		{"scheduled", func(t *imageapi.TagReference) { t.ImportPolicy.Scheduled = true }, false},
		{"policy", func(t *imageapi.TagReference) { t.ReferencePolicy.Type = imageapi.LocalTagReferencePolicy }, false},
		{"annotations", func(t *imageapi.TagReference) { t.Annotations = map[string]string{"a": "b"} }, false},
		{"no source", func(t *imageapi.TagReference) { t.From = nil }, false},
	}
	for _, test := range tests {
		now := base()
		test.change(&now)
		if got := tagChanged("team-a", base(), now); got != test.changed {
			t.Errorf("%s: got %t, want %t", test.name, got, test.changed)
		}
	}
	without := base()
	without.From = nil
	if !tagChanged("team-a", without, base()) {
		t.Error("a source that came counts as no change")
	}
}

// Behaviour 21.
func TestSettleEventGenerations(t *testing.T) {
	five := int64(5)
	event := func(image string, generation int64) imageapi.TagEventList {
		return imageapi.TagEventList{Items: []imageapi.TagEvent{{Image: image, DockerImageReference: "r/" + image, Generation: generation}}}
	}
	old := &imageapi.ImageStream{Status: imageapi.ImageStreamStatus{Tags: map[string]imageapi.TagEventList{
		"same": event("a", 3), "moved": event("a", 3), "unwanted": event("a", 3),
	}}}
	stream := &imageapi.ImageStream{
		Spec: imageapi.ImageStreamSpec{Tags: map[string]imageapi.TagReference{"moved": {Generation: &five}, "new": {Generation: &five}}},
		Status: imageapi.ImageStreamStatus{Tags: map[string]imageapi.TagEventList{
			"new": event("b", 0), "same": event("a", 0), "moved": event("b", 0), "unwanted": event("b", 0), "set": event("b", 2),
		}},
	}
	stream.Generation = 9
	settleEventGenerations(stream, old)
	for tag, want := range map[string]int64{"new": 9, "same": 9, "moved": 5, "unwanted": 9, "set": 2} {
		if got := stream.Status.Tags[tag].Items[0].Generation; got != want {
			t.Errorf("%s: generation %d, want %d", tag, got, want)
		}
	}
}
