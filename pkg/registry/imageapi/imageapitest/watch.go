package imageapitest

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	imagev1 "image.alauda.io/api/image/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// The metadata of streams can be listed and watched. Lists and the beginning of a watch
// are counted and can fail as "ListStreams" and "WatchStreams".
var _ cache.ListerWatcherWithContext = (*API)(nil)

// change is one event of the watch, at the version of its object.
type change struct {
	version int
	event   watch.Event
}

// watcher is one open watch.
type watcher struct {
	api    *API
	events chan watch.Event
	end    chan struct{}
	once   sync.Once
	// seen is how many changes the watch has sent, guarded by the lock of the API.
	seen int
}

// note adds a change for those who watch.
func (a *API) note(kind watch.EventType, stream *imagev1.ImageStream) {
	a.changes = append(a.changes, change{a.version, watch.Event{Type: kind, Object: metadataOf(stream)}})
	a.wake()
}

// wake makes watches look for changes.
func (a *API) wake() {
	close(a.news)
	a.news = make(chan struct{})
}

func metadataOf(stream *imagev1.ImageStream) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"},
		ObjectMeta: *stream.ObjectMeta.DeepCopy(),
	}
}

// identify gives a stream that is stored for the first time an identity of its own.
func (a *API) identify(stream *imagev1.ImageStream) {
	if stream.UID == "" {
		stream.UID = types.UID(fmt.Sprintf("uid-%d", a.version))
	}
}

// ListWithContext implements cache.ListerWithContext.
func (a *API) ListWithContext(context.Context, metav1.ListOptions) (runtime.Object, error) {
	end, err := a.begin("ListStreams")
	if err != nil {
		return nil, err
	}
	defer end()
	list := &metav1.PartialObjectMetadataList{ListMeta: metav1.ListMeta{ResourceVersion: strconv.Itoa(a.version)}}
	for _, stream := range a.streams {
		list.Items = append(list.Items, *metadataOf(stream))
	}
	return list, nil
}

// WatchWithContext implements cache.WatcherWithContext.
func (a *API) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	from, err := strconv.Atoi(options.ResourceVersion)
	if err != nil {
		return nil, fmt.Errorf("watch from version %q: %w", options.ResourceVersion, err)
	}
	end, err := a.begin("WatchStreams")
	if err != nil {
		return nil, err
	}
	defer end()
	w := &watcher{api: a, events: make(chan watch.Event), end: make(chan struct{})}
	for w.seen < len(a.changes) && a.changes[w.seen].version <= from {
		w.seen++
	}
	a.watchers = append(a.watchers, w)
	go w.run(ctx)
	return w, nil
}

func (w *watcher) run(ctx context.Context) {
	defer close(w.events)
	for {
		event, news := w.next()
		if event == nil {
			select {
			case <-news:
				continue
			case <-w.end:
			case <-ctx.Done():
			}
			return
		}
		select {
		case w.events <- *event:
		case <-w.end:
			return
		case <-ctx.Done():
			return
		}
	}
}

// next returns a change that was not sent yet, or what announces the next one.
func (w *watcher) next() (*watch.Event, <-chan struct{}) {
	w.api.mu.Lock()
	defer w.api.mu.Unlock()
	if w.api.held || w.seen == len(w.api.changes) {
		return nil, w.api.news
	}
	w.seen++
	event := w.api.changes[w.seen-1].event
	return &event, nil
}

// ResultChan implements watch.Interface.
func (w *watcher) ResultChan() <-chan watch.Event { return w.events }

// Stop implements watch.Interface.
func (w *watcher) Stop() { w.once.Do(func() { close(w.end) }) }

// Bookmark tells those who watch that there is nothing new.
func (a *API) Bookmark() {
	a.mu.Lock()
	defer a.mu.Unlock()
	object := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{ResourceVersion: strconv.Itoa(a.version)}}
	a.changes = append(a.changes, change{a.version, watch.Event{Type: watch.Bookmark, Object: object}})
	a.wake()
}

// HoldWatches delays what watches send until the returned function is called.
func (a *API) HoldWatches() (release func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held = true
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.held = false
		a.wake()
	}
}

// BreakWatches ends all watches that are open.
func (a *API) BreakWatches() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.watchers {
		w.Stop()
	}
	a.watchers = nil
}

// Reads is how often anything was read or written, lists and watches of the metadata of
// streams left out.
func (a *API) Reads() (sum int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for call, n := range a.calls {
		if call != "ListStreams" && call != "WatchStreams" {
			sum += n
		}
	}
	return sum
}
