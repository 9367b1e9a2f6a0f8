//go:build component

package apiserver

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	imagev1 "image.alauda.io/api/image/v1"
)

// nextEvent returns the next event of a watch that is no bookmark.
func nextEvent(t *testing.T, events watch.Interface) watch.Event {
	t.Helper()
	for {
		select {
		case event, open := <-events.ResultChan():
			if !open {
				t.Fatal("the watch ended")
			}
			if event.Type != watch.Bookmark {
				return event
			}
		case <-t.Context().Done():
			t.Fatal("the test ended")
		}
	}
}

// Behaviour 24: fields select what a watch of streams sends, and a stream that leaves the selector is DELETED
// for its watchers.
func testFieldWatch(t *testing.T, e *environment) {
	namespace := e.newNamespace(t)
	streams := e.images.ImageV1().ImageStreams(namespace)
	const here, there = "example.test/org/here", "example.test/org/there"
	app := stream("app")
	// With this mark nobody but the test changes the stream: its repository has been looked at.
	app.Annotations = map[string]string{imagev1.DockerImageRepositoryCheckAnnotation: "2026-01-02T03:04:05Z"}
	current, err := streams.Create(t.Context(), app, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	watches := map[string]watch.Interface{}
	for _, selector := range []string{"metadata.name=app", "metadata.name!=app", "spec.dockerImageRepository=" + here, "metadata.name=app,spec.dockerImageRepository=" + here, "status.dockerImageRepository=" + internalHost + "/" + namespace + "/app"} {
		events, err := streams.Watch(t.Context(), metav1.ListOptions{ResourceVersion: current.ResourceVersion, FieldSelector: selector})
		if err != nil {
			t.Fatalf("%s: %v", selector, err)
		}
		defer events.Stop()
		watches[selector] = events
	}
	for _, repository := range []string{here, there, here} {
		current.Spec.DockerImageRepository = repository
		if current, err = streams.Update(t.Context(), current, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := streams.Delete(t.Context(), "app", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := streams.Create(t.Context(), stream("other"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	transitions := []watch.EventType{watch.Added, watch.Deleted, watch.Added, watch.Deleted}
	always := []watch.EventType{watch.Modified, watch.Modified, watch.Modified, watch.Deleted}
	for selector, events := range watches {
		name, want := "app", transitions
		switch selector {
		case "metadata.name!=app":
			name, want = "other", []watch.EventType{watch.Added}
		case "metadata.name=app", "status.dockerImageRepository=" + internalHost + "/" + namespace + "/app":
			want = always
		}
		for i, eventType := range want {
			event := nextEvent(t, events)
			got, ok := event.Object.(*imagev1.ImageStream)
			if event.Type != eventType || !ok || got.Name != name || got.Status.DockerImageRepository == "" {
				t.Errorf("%s: event %d is %s %+v, want %s of %s", selector, i, event.Type, event.Object, eventType, name)
			}
		}
	}
}

// Behaviour 24, Images: fields and labels select what a watch sends, alone and together.
func testImageWatch(t *testing.T, e *environment) {
	images := e.images.ImageV1().Images()
	list, err := images.List(t.Context(), metav1.ListOptions{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	wanted := digestOf(t.Name())
	watches := map[string]watch.Interface{}
	for what, options := range map[string]metav1.ListOptions{
		"name":           {FieldSelector: "metadata.name=" + wanted},
		"label":          {LabelSelector: "of=" + digestLabel(wanted)},
		"name and label": {FieldSelector: "metadata.name=" + wanted, LabelSelector: "of=" + digestLabel(wanted)},
	} {
		options.ResourceVersion = list.ResourceVersion
		events, err := images.Watch(t.Context(), options)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		defer events.Stop()
		watches[what] = events
	}
	if _, err := images.Create(t.Context(), &imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: digestOf(t.Name() + " other")}, DockerImageReference: "example.test/other"}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	image, err := images.Create(t.Context(), &imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: wanted}, DockerImageReference: "example.test/app"}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, labels := range []map[string]string{{"of": digestLabel(wanted)}, nil} {
		image.Labels = labels
		if image, err = images.Update(t.Context(), image, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for what, want := range map[string][]watch.EventType{
		"name":           {watch.Added, watch.Modified, watch.Modified},
		"label":          {watch.Added, watch.Deleted},
		"name and label": {watch.Added, watch.Deleted},
	} {
		for i, eventType := range want {
			event := nextEvent(t, watches[what])
			if got, ok := event.Object.(*imagev1.Image); event.Type != eventType || !ok || got.Name != wanted {
				t.Errorf("%s: event %d is %s %+v, want %s of %s", what, i, event.Type, event.Object, eventType, wanted)
			}
		}
	}
}

// digestLabel is a value of a label that belongs to one digest.
func digestLabel(digest string) string { return digest[len("sha256:"):][:20] }
