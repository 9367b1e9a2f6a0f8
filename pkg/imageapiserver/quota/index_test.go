package quota_test

import (
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/quota"
)

func amounts(streams, images, tags int64) quota.Amounts {
	return quota.Amounts{streamsName: streams, countName: streams, imagesName: images, tagsName: tags}
}

// Behaviour 53.
func TestDelta(t *testing.T) {
	app, second := stream("app", "1", "2"), stream("second", "2", "3")
	index := newCluster(t).replica(app, second).index
	elsewhere := stream("app", "1", "9")
	elsewhere.Namespace = "team-b"
	for _, test := range []struct {
		name      string
		next, old *imageapi.ImageStream
		want      quota.Amounts
	}{
		{"a new stream", stream("new", "8", "9"), none, amounts(1, 2, 2)},
		{"a new stream with images of others", stream("new", "1", "3", "9"), none, amounts(1, 1, 3)},
		{"nothing changes", app, app, amounts(0, 0, 0)},
		{"a new image", stream("app", "1", "2", "9"), app, amounts(0, 1, 1)},
		{"an image of another stream", stream("app", "1", "2", "3"), app, amounts(0, 0, 1)},
		{"the only stream that has it lets it go", stream("app", "2"), app, amounts(0, -1, -1)},
		{"another stream still has it", stream("app", "1"), app, amounts(0, 0, -1)},
		{"one comes and one goes", stream("app", "2", "9"), app, amounts(0, 0, 0)},
		{"another namespace does not count", elsewhere, none, amounts(1, 2, 2)},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := index.Delta(test.next, test.old); !maps.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// Behaviour 53: what two streams have in common counts once, and what a deletion frees is free.
func TestIndexFollowsTheStreams(t *testing.T) {
	c := newCluster(t)
	gate := c.replica(stream("app", "1", "2"))
	type change struct {
		namespace string
		grew      bool
	}
	changed := make(chan change, 100)
	gate.index.OnChange(func(namespace string, by quota.Amounts) {
		grew := false
		for _, amount := range by {
			grew = grew || amount > 0
		}
		changed <- change{namespace, grew}
	})
	before := int64(2)
	expect := func(step string, want quota.Amounts) {
		t.Helper()
		if got := <-changed; got != (change{ns, want[tagsName] > before}) {
			t.Errorf("%s: told of %+v", step, got)
		}
		before = want[tagsName]
		if got := gate.index.Used(ns); !maps.Equal(got, want) {
			t.Errorf("%s: used is %v, want %v", step, got, want)
		}
	}
	gate.streams.Add(stream("second", "2", "3"))
	expect("another stream", amounts(2, 3, 4))
	gate.streams.Modify(stream("second", "2"))
	expect("an image less", amounts(2, 2, 3))
	gate.streams.Delete(stream("app"))
	expect("a stream less", amounts(1, 1, 1))
	gate.streams.Delete(stream("second"))
	expect("no stream", amounts(0, 0, 0))
}

func TestConstrains(t *testing.T) {
	for name, want := range map[corev1.ResourceName]bool{
		streamsName: true, imagesName: true, tagsName: true, countName: true, "count/pods": false, "alauda.io/other": false,
	} {
		if got := quota.Constrains(hard("q", string(name), "1")); got != want {
			t.Errorf("%s constrains: %v, want %v", name, got, want)
		}
	}
}
