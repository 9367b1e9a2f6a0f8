package feed_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/storage/feed"
)

// store has two pages and one watch.
type store struct {
	pages   []*imageapi.ImageList
	events  *watch.FakeWatcher
	watched chan context.Context
}

func (s *store) List(_ context.Context, options *metainternalversion.ListOptions) (runtime.Object, error) {
	if options.Continue != "" {
		return s.pages[1], nil
	}
	return s.pages[0], nil
}

func (s *store) Watch(ctx context.Context, options *metainternalversion.ListOptions) (watch.Interface, error) {
	if !options.AllowWatchBookmarks || options.TimeoutSeconds == nil || options.ResourceVersion != "7" {
		return nil, fmt.Errorf("asked for %+v", options)
	}
	s.watched <- ctx
	return s.events, nil
}

// sink writes down what it is given.
type sink struct {
	mu    sync.Mutex
	lines []string
	told  chan struct{}
}

func (s *sink) tell(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
	s.told <- struct{}{}
}

func (s *sink) Put(name string, value int)    { s.tell("put %s %d", name, value) }
func (s *sink) Delete(name string)            { s.tell("delete %s", name) }
func (s *sink) Replace(values map[string]int) { s.tell("replace %v", values) }

func image(name, version string) *imageapi.Image {
	return &imageapi.Image{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: version}}
}

func TestASinkFollowsTheStore(t *testing.T) {
	images := &store{
		pages: []*imageapi.ImageList{
			{ListMeta: metav1.ListMeta{ResourceVersion: "7", Continue: "more"}, Items: []imageapi.Image{*image("a", "1"), *image("unwanted", "2")}},
			{ListMeta: metav1.ListMeta{ResourceVersion: "7"}, Items: []imageapi.Image{*image("bbb", "3")}},
		},
		events: watch.NewFake(), watched: make(chan context.Context, 1),
	}
	kept := &sink{told: make(chan struct{}, 16)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		feed.Run(ctx, images, "test", "Image", func(image *imageapi.Image) (int, bool) { return len(image.Name), image.Name != "unwanted" }, kept)
	}()
	watching := <-images.watched
	images.events.Add(image("unwanted", "8"))
	images.events.Modify(image("a", "9"))
	images.events.Action(watch.Bookmark, image("", "10"))
	images.events.Delete(image("bbb", "11"))
	for range 4 {
		select {
		case <-kept.told:
		case <-time.After(time.Minute):
			t.Fatalf("only %q", kept.lines)
		}
	}
	if got, want := strings.Join(kept.lines, "; "), "replace map[a:1 bbb:3]; put unwanted 8; put a 1; delete bbb"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	cancel()
	<-ended
	<-watching.Done() // The watch has let go of its context.
}
