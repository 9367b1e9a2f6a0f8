package streams_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/streams"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// script is a source whose watches say what a test says.
type script struct {
	mu      sync.Mutex
	listed  []metav1.PartialObjectMetadata
	watches []*watch.FakeWatcher
}

func (s *script) ListWithContext(context.Context, metav1.ListOptions) (runtime.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &metav1.PartialObjectMetadataList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: s.listed}, nil
}

func (s *script) WatchWithContext(context.Context, metav1.ListOptions) (watch.Interface, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watches = append(s.watches, watch.NewFake())
	return s.watches[len(s.watches)-1], nil
}

func (s *script) latest() (*watch.FakeWatcher, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watches[len(s.watches)-1], len(s.watches)
}

func object(name, uid, version string) metav1.PartialObjectMetadata {
	return metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "image.alauda.io/v1", Kind: "ImageStream"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name, UID: types.UID(uid), ResourceVersion: version},
	}
}

// followScript runs views of a script until the returned function is called.
func followScript(t *testing.T, source *script, gone func(route.Name)) (*streams.Views, func()) {
	t.Helper()
	views, err := streams.New(streams.Options{API: &gated{}, Source: source, Gone: gone})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { views.Run(ctx) })
	return views, func() {
		cancel()
		running.Wait()
	}
}

// A watch whose connection was cut off without a word is not believed any more, and is begun
// anew instead of waited for.
func TestASilentWatchIsBegunAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &script{}
		views, stop := followScript(t, source, nil)
		defer stop()
		time.Sleep(time.Second)
		if !views.Healthy() {
			t.Fatal("a complete list is not believed")
		}
		time.Sleep(streams.DefaultMaxSilence)
		if views.Healthy() {
			t.Error("a silent watch is believed")
		}
		time.Sleep(10 * time.Second)
		current, n := source.latest()
		if n != 2 {
			t.Fatalf("%d watches, want a second one", n)
		}
		bookmark := object("", "", "2")
		current.Action(watch.Bookmark, &bookmark)
		synctest.Wait()
		if !views.Healthy() {
			t.Error("the new watch is not believed")
		}
		for range 10 {
			time.Sleep(time.Minute)
			current.Action(watch.Bookmark, &bookmark)
		}
		if _, n := source.latest(); n != 2 || !views.Healthy() {
			t.Errorf("%d watches, healthy %t: one that speaks each minute was ended", n, views.Healthy())
		}
	})
}

// Who remembers something about a stream hears that it is gone, also when another one has
// its name before the watch shows it.
func TestGoneStreamsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gone []string
		source := &script{listed: []metav1.PartialObjectMetadata{object("a", "1", "1"), object("b", "1", "1"), object("c", "1", "1")}}
		_, stop := followScript(t, source, func(name route.Name) { gone = append(gone, name.Stream) })
		defer stop()
		time.Sleep(time.Second)
		tell := func(kind watch.EventType, one metav1.PartialObjectMetadata) {
			current, _ := source.latest()
			current.Action(kind, &one)
			synctest.Wait()
		}
		tell(watch.Modified, object("a", "1", "2"))
		if len(gone) != 0 {
			t.Errorf("a change made %v gone", gone)
		}
		tell(watch.Deleted, object("a", "1", "3"))
		tell(watch.Added, object("a", "2", "4"))
		tell(watch.Modified, object("b", "2", "5"))
		if len(gone) != 2 || gone[0] != "a" || gone[1] != "b" {
			t.Errorf("gone are %v, want a and b", gone)
		}
		gone = nil
		source.mu.Lock()
		source.listed = []metav1.PartialObjectMetadata{object("a", "2", "4"), object("b", "3", "9")}
		source.mu.Unlock()
		current, _ := source.latest()
		current.Error(&metav1.Status{Status: metav1.StatusFailure, Code: 410, Reason: metav1.StatusReasonExpired})
		time.Sleep(time.Minute)
		if slices.Sort(gone); !slices.Equal(gone, []string{"b", "c"}) {
			t.Errorf("after another list %v are gone, want b, whose name another one has, and c", gone)
		}
	})
}
