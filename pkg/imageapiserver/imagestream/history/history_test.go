package history

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

func event(reference, image string, generation int64) imageapi.TagEvent {
	return imageapi.TagEvent{DockerImageReference: reference, Image: image, Generation: generation, Created: metav1.Unix(generation, 0)}
}

// Behaviour 15.
func TestAdd(t *testing.T) {
	head, older := event("r1", "i1", 1), event("r0", "i0", 0)
	keepTime := func(e imageapi.TagEvent) imageapi.TagEvent { e.Created = head.Created; return e }
	tests := []struct {
		name    string
		items   []imageapi.TagEvent
		add     imageapi.TagEvent
		want    []imageapi.TagEvent
		changed bool
	}{
		{"first", nil, head, []imageapi.TagEvent{head}, true},
		{"the same", []imageapi.TagEvent{head, older}, head, []imageapi.TagEvent{head, older}, false},
		{"generation", []imageapi.TagEvent{head, older}, event("r1", "i1", 2), []imageapi.TagEvent{keepTime(event("r1", "i1", 2)), older}, true},
		{"image", []imageapi.TagEvent{head, older}, event("r1", "i2", 2), []imageapi.TagEvent{keepTime(event("r1", "i2", 2)), older}, true},
		{"reference", []imageapi.TagEvent{head, older}, event("r2", "i1", 2), []imageapi.TagEvent{keepTime(event("r2", "i1", 2)), older}, true},
		{"both", []imageapi.TagEvent{head, older}, event("r2", "i2", 2), []imageapi.TagEvent{event("r2", "i2", 2), head, older}, true},
		{"an older one", []imageapi.TagEvent{head, older}, event("r0", "i0", 2), []imageapi.TagEvent{event("r0", "i0", 2), head, older}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			stream := &imageapi.ImageStream{}
			if test.items != nil {
				stream.Status.Tags = map[string]imageapi.TagEventList{"v": {Items: slices.Clone(test.items), Conditions: []imageapi.TagEventCondition{{Type: imageapi.ImportSuccess}}}}
			}
			before := stream.DeepCopy()
			changed := Add(stream, "v", test.add, 0)
			got := stream.Status.Tags["v"]
			if changed != test.changed || !slices.Equal(got.Items, test.want) {
				t.Errorf("got %+v, changed %t, want %+v, %t", got.Items, changed, test.want, test.changed)
			}
			if changed == (len(got.Conditions) > 0) {
				t.Errorf("conditions are %v", got.Conditions)
			}
			if test.items != nil && !slices.Equal(before.Status.Tags["v"].Items, test.items) {
				t.Error("the items of another copy changed")
			}
		})
	}
}

func TestTakenUp(t *testing.T) {
	stream := func(items ...imageapi.TagEvent) *imageapi.ImageStream {
		return &imageapi.ImageStream{Status: imageapi.ImageStreamStatus{Tags: map[string]imageapi.TagEventList{"v": {Items: items}}}}
	}
	one, two, reference := event("r1", "i1", 1), event("r2", "i2", 2), event("r3", "", 3)
	tests := []struct {
		name     string
		old, new *imageapi.ImageStream
		want     []string
	}{
		{"new stream", &imageapi.ImageStream{}, stream(one, two), []string{"i1", "i2"}},
		{"nothing", stream(one), stream(one), nil},
		{"reference only", stream(one), stream(reference, one), nil},
		{"new head", stream(one), stream(two, one), []string{"i2"}},
		{"an older image again", stream(two, one), stream(one, two, one), []string{"i1"}},
		{"removed", stream(two, one), stream(two), nil},
	}
	for _, test := range tests {
		if got := TakenUp(test.new, test.old); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}
