package crd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/storage"
	utilflowcontrol "k8s.io/apiserver/pkg/util/flowcontrol"
	"k8s.io/klog/v2"
)

// resultBuffer is how many events a slow receiver may lag behind before kube-apiserver is held up.
const resultBuffer = 100

// Watch implements storage.Interface. Like the etcd backend it returns at once; what goes wrong later
// is sent as an error event. Without a version the existing objects come first, as additions.
func (s *Store) Watch(ctx context.Context, key string, opts storage.ListOptions) (watch.Interface, error) {
	if opts.SendInitialEvents != nil {
		return nil, apierrors.NewBadRequest("sendInitialEvents is not supported")
	}
	at, err := s.locate(key, opts.Recursive)
	if err != nil {
		return nil, err
	}
	version, err := s.versioner.ParseResourceVersion(opts.ResourceVersion)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &watcher{
		store: s, at: at, opts: opts, version: version,
		ctx: ctx, cancel: cancel, result: make(chan watch.Event, resultBuffer),
		matching: newMatching(opts.Predicate),
	}
	go w.run()
	utilflowcontrol.WatchInitialized(ctx)
	return w, nil
}

// watcher passes the events of one watch of kube-apiserver on.
type watcher struct {
	store   *Store
	at      location
	opts    storage.ListOptions
	version uint64

	ctx      context.Context
	cancel   context.CancelFunc
	result   chan watch.Event
	matching *matching
}

// Stop implements watch.Interface.
func (w *watcher) Stop() { w.cancel() }

// ResultChan implements watch.Interface.
func (w *watcher) ResultChan() <-chan watch.Event { return w.result }

func (w *watcher) run() {
	defer close(w.result)
	defer w.cancel()
	err := w.watch()
	if err == nil || w.ctx.Err() != nil {
		return
	}
	w.send(watch.Event{Type: watch.Error, Object: errorStatus(err)})
}

func (w *watcher) watch() error {
	if err := w.initialize(); err != nil {
		return err
	}
	labelSelector := ""
	if selector := w.opts.Predicate.Label; selector != nil && !selector.Empty() {
		labelSelector = selector.String()
	}
	stream, err := w.store.watchRecords(w.ctx, w.at, fmt.Sprint(w.version), labelSelector)
	if err != nil {
		return err
	}
	defer stream.Close()
	return w.forward(json.NewDecoder(stream))
}

// initialize lists what exists: to send it when no version was given, or to know what matches a field
// selector at the given version, because later events tell nothing about the state before them.
func (w *watcher) initialize() error {
	initial := w.version == 0
	if !initial && !w.matching.tracks {
		return nil
	}
	listing := storage.ListOptions{Predicate: w.opts.Predicate, Recursive: w.opts.Recursive}
	listing.Predicate.Limit, listing.Predicate.Continue = 0, ""
	if !initial {
		listing.ResourceVersion = fmt.Sprint(w.version)
		listing.ResourceVersionMatch = metav1.ResourceVersionMatchExact
	}
	found, version, err := w.store.objects(w.ctx, w.at, listing)
	if err != nil {
		return err
	}
	w.version = version
	for _, obj := range found {
		w.matching.add(obj)
		if initial && !w.send(watch.Event{Type: watch.Added, Object: obj}) {
			return nil
		}
	}
	return nil
}

// recordEvent is an event of kube-apiserver.
type recordEvent struct {
	Type   watch.EventType `json:"type"`
	Object json.RawMessage `json:"object"`
}

// forward translates events until the stream ends. Kube-apiserver ends every watch after a while; the
// channel is closed then and the receiver watches again.
func (w *watcher) forward(stream *json.Decoder) error {
	for {
		var event recordEvent
		if err := stream.Decode(&event); err != nil {
			if !errors.Is(err, io.EOF) && w.ctx.Err() == nil {
				klog.V(4).InfoS("Watch ended", "key", w.at.key, "err", err)
			}
			return nil
		}
		translated, err := w.translate(event)
		if err != nil {
			return err
		}
		if translated != nil && !w.send(*translated) {
			return nil
		}
	}
}

func (w *watcher) translate(event recordEvent) (*watch.Event, error) {
	if event.Type == watch.Error {
		status := &metav1.Status{}
		if err := json.Unmarshal(event.Object, status); err != nil {
			return nil, fmt.Errorf("watch %s: reading an error of kube-apiserver: %w", w.at.key, err)
		}
		return nil, &apierrors.StatusError{ErrStatus: *status}
	}
	r := &record{}
	if err := json.Unmarshal(event.Object, r); err != nil {
		return nil, fmt.Errorf("watch %s: reading an event of kube-apiserver: %w", w.at.key, err)
	}
	if event.Type == watch.Bookmark {
		return w.bookmark(r)
	}
	obj, err := w.store.decode(r, w.store.config.NewFunc())
	switch {
	case err == nil:
	case event.Type != watch.Deleted:
		klog.ErrorS(err, "Record left out of a watch")
		return nil, nil
	default:
		// Whoever read the object before it was damaged would keep it for good.
		known := false
		if obj, known = w.store.remains(r); !known {
			return nil, apierrors.NewResourceExpired(fmt.Sprintf("a record that does not tell its name was deleted, list again: %v", err))
		}
	}
	return w.matching.filter(watch.Event{Type: event.Type, Object: obj}), nil
}

func (w *watcher) bookmark(r *record) (*watch.Event, error) {
	if !w.opts.ProgressNotify {
		return nil, nil
	}
	version, err := w.store.versioner.ParseResourceVersion(r.ResourceVersion)
	if err != nil {
		return nil, err
	}
	obj := w.store.config.NewFunc()
	if err := w.store.versioner.UpdateObject(obj, version); err != nil {
		return nil, err
	}
	return &watch.Event{Type: watch.Bookmark, Object: obj}, nil
}

// send delivers an event; false means that nobody listens any more.
func (w *watcher) send(event watch.Event) bool {
	select {
	case w.result <- event:
		return true
	case <-w.ctx.Done():
		return false
	}
}

// errorStatus is the error as a watch event carries it.
func errorStatus(err error) runtime.Object {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		result := status.Status()
		return &result
	}
	result := apierrors.NewInternalError(err).Status()
	return &result
}
