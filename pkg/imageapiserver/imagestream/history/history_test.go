package history

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
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

func tracking(stream *imageapi.ImageStream, tag, source string) {
	if stream.Spec.Tags == nil {
		stream.Spec.Tags = map[string]imageapi.TagReference{}
	}
	stream.Spec.Tags[tag] = imageapi.TagReference{Name: tag, From: &corev1.ObjectReference{Kind: "ImageStreamTag", Name: source}}
}

// Behaviour 17.
func TestTrackFollowsChainsAndEndsCycles(t *testing.T) {
	tests := []struct {
		name string
		// trackers are "tag source" in spec, before and after are the images of heads.
		trackers      [][2]string
		before, after map[string]string
		want          map[string]string
	}{
		{"a chain", [][2]string{{"b", "a"}, {"c", "b"}}, map[string]string{"a": "1", "b": "1", "c": "1"},
			map[string]string{"a": "2", "b": "1", "c": "1"}, map[string]string{"a": "2", "b": "2", "c": "2"}},
		{"the middle of a chain", [][2]string{{"b", "a"}, {"c", "b"}}, map[string]string{"a": "1", "b": "1", "c": "1"},
			map[string]string{"a": "1", "b": "2", "c": "1"}, map[string]string{"a": "1", "b": "2", "c": "2"}},
		{"the first that moved wins", [][2]string{{"a", "z"}, {"b", "a"}}, map[string]string{"z": "1", "a": "1", "b": "1"},
			map[string]string{"z": "2", "a": "3", "b": "1"}, map[string]string{"z": "2", "a": "2", "b": "2"}},
		{"a cycle", [][2]string{{"a", "c"}, {"b", "a"}, {"c", "b"}}, map[string]string{"a": "1", "b": "1", "c": "1"},
			map[string]string{"a": "1", "b": "2", "c": "1"}, map[string]string{"a": "2", "b": "2", "c": "2"}},
		{"beside a cycle", [][2]string{{"a", "b"}, {"b", "a"}, {"c", "a"}, {"d", "c"}}, map[string]string{"a": "1", "b": "1", "c": "1", "d": "1"},
			map[string]string{"a": "1", "b": "1", "c": "2", "d": "1"}, map[string]string{"a": "1", "b": "1", "c": "2", "d": "2"}},
		{"itself", [][2]string{{"a", "a"}}, map[string]string{"a": "1"}, map[string]string{"a": "2"}, map[string]string{"a": "2"}},
		{"emptied", [][2]string{{"b", "a"}}, map[string]string{"a": "1", "b": "1"}, map[string]string{"b": "1"}, map[string]string{"b": "1"}},
	}
	for _, test := range tests {
		heads := func(images map[string]string) *imageapi.ImageStream {
			stream := &imageapi.ImageStream{Status: imageapi.ImageStreamStatus{Tags: map[string]imageapi.TagEventList{}}}
			for _, tracker := range test.trackers {
				tracking(stream, tracker[0], tracker[1])
			}
			for tag, image := range images {
				stream.Status.Tags[tag] = imageapi.TagEventList{Items: []imageapi.TagEvent{event("r"+image, image, 1)}}
			}
			return stream
		}
		stream := heads(test.after)
		Track(stream, heads(test.before), 0)
		for tag := range stream.Status.Tags {
			if head, _ := Head(stream, tag); head.Image != test.want[tag] {
				t.Errorf("%s: tag %s has image %s, want %s", test.name, tag, head.Image, test.want[tag])
			}
		}
	}
}

// A user decides how long the chain is; it must not cost the square of its length.
func TestTrackVisitsEveryTagOnce(t *testing.T) {
	const length = 30_000
	stream := &imageapi.ImageStream{Status: imageapi.ImageStreamStatus{Tags: map[string]imageapi.TagEventList{}}}
	name := func(i int) string { return fmt.Sprintf("t%05d", i) }
	for i := range length {
		stream.Status.Tags[name(i)] = imageapi.TagEventList{Items: []imageapi.TagEvent{event("r", "i", 1)}}
		if i > 0 {
			tracking(stream, name(i), name(i-1))
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		Track(stream, &imageapi.ImageStream{}, 0)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatalf("a chain of %d tags takes longer than 10 s", length)
	}
}
