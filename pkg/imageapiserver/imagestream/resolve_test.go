package imagestream

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
)

// countedStreams has one stream, with the tag latest.
type countedStreams struct{ reads int }

func (c *countedStreams) Find(_ context.Context, name string) (*imageapi.ImageStream, error) {
	c.reads++
	stream := &imageapi.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: name}}
	stream.Status.Tags = map[string]imageapi.TagEventList{"latest": {Items: []imageapi.TagEvent{{DockerImageReference: "quay.io/org/app:1", Image: "sha256:1"}}}}
	return stream, nil
}

func TestASourceOfManyTagsIsReadOnce(t *testing.T) {
	streams := &countedStreams{}
	r := &resolver{
		hosts: func() repository.Hosts { return repository.Hosts{} }, streams: streams,
		clock: clocktesting.NewFakePassiveClock(time.Unix(0, 0)), limit: func() int { return 0 },
	}
	stream := &imageapi.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "app"}}
	stream.Spec.Tags = map[string]imageapi.TagReference{}
	for i := range 50 {
		name := fmt.Sprintf("v%d", i)
		stream.Spec.Tags[name] = imageapi.TagReference{Name: name, From: &corev1.ObjectReference{Kind: "ImageStreamTag", Name: "base:latest"}}
	}
	firstGenerations(stream)
	if errs := r.resolve(t.Context(), stream, nil); len(errs) > 0 {
		t.Fatal(errs)
	}
	if len(stream.Status.Tags) != 50 || streams.reads != 1 {
		t.Errorf("%d tags resolved with %d reads of their source, want 50 with 1", len(stream.Status.Tags), streams.reads)
	}
}
