package streams

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	imagev1 "image.alauda.io/api/image/v1"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

const (
	listPageSize = 500
	// healthInterval is how often a change of the watch's health is noticed for the log.
	healthInterval = 5 * time.Second
)

// Run follows the streams until the context ends. Without a source it returns at once.
func (v *Views) Run(ctx context.Context) {
	if v.options.Source == nil {
		return
	}
	follower := &follower{source: v.options.Source, log: v.options.Log, observer: v.options.Observer, now: v.options.Now}
	reflector := cache.NewReflectorWithOptions(follower.listWatch(), &metav1.PartialObjectMetadata{}, v.known, cache.ReflectorOptions{
		Name: "image streams", TypeDescription: "image streams",
	})
	reflector.WatchListPageSize = listPageSize
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.attend(ctx, follower)
	}()
	reflector.RunWithContext(ctx)
	<-done
}

// attend writes a log line when requests begin or cease to read streams themselves, and ends
// a watch that says nothing any more: a connection that was cut off without a word would
// otherwise last until the system notices.
func (v *Views) attend(ctx context.Context, f *follower) {
	ticker := time.NewTicker(healthInterval)
	defer ticker.Stop()
	healthy, said := false, false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if v.known.silent() > v.options.MaxSilence {
			f.endSilentWatch(v.options.Now().Add(-v.options.MaxSilence))
		}
		if now := v.Healthy(); now != healthy || !said {
			healthy, said = now, true
			if now {
				v.options.Log.Info("image streams are followed: pulls by tag and lists are answered from memory")
			} else {
				v.options.Log.Warn("image streams are not followed: each pull by tag and each list reads from the image API")
			}
		}
	}
}

// follower lists and watches for the reflector and reports what fails. The reflector
// waits longer and longer between attempts, up to a minute.
type follower struct {
	source   cache.ListerWatcherWithContext
	log      *zap.Logger
	observer Observer
	now      func() time.Time
	failing  atomic.Bool

	mu      sync.Mutex
	current watch.Interface
	since   time.Time
}

// endSilentWatch ends the watch if it is older than a time. The reflector begins another one
// where it ended.
func (f *follower) endSilentWatch(begunBefore time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.current != nil && f.since.Before(begunBefore) {
		f.current.Stop()
		f.current = nil
	}
}

func (f *follower) listWatch() cache.ListerWatcher {
	return listThenWatch{&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			list, err := f.source.ListWithContext(ctx, options)
			return list, f.report(ctx, "list", err)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.AllowWatchBookmarks = true
			events, err := f.source.WatchWithContext(ctx, options)
			if err == nil {
				f.mu.Lock()
				f.current, f.since = events, f.now()
				f.mu.Unlock()
			}
			return events, f.report(ctx, "watch", err)
		},
	}}
}

// report counts failures and tells the first one after a success.
func (f *follower) report(ctx context.Context, verb string, err error) error {
	if err == nil {
		f.failing.Store(false)
		return nil
	}
	if ctx.Err() != nil {
		return err
	}
	f.observer.StreamWatchFailed()
	if !f.failing.Swap(true) {
		f.log.Warn("image streams cannot be followed, trying again", zap.String("verb", verb), zap.Error(err))
	}
	return err
}

// listThenWatch tells the reflector that the image API does not send its state through a
// watch.
type listThenWatch struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported is asked by client-go.
func (listThenWatch) IsWatchListSemanticsUnSupported() bool { return true }

type kubeSource struct{ streams metadata.Getter }

// NewKubeSource lists and watches the metadata of the streams of a cluster.
func NewKubeSource(config *rest.Config) (cache.ListerWatcherWithContext, error) {
	client, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("metadata client: %w", err)
	}
	resource := schema.GroupVersionResource{Group: imagev1.GroupName, Version: "v1", Resource: imagev1.ResourceNameImageStreams}
	return kubeSource{client.Resource(resource)}, nil
}

// ListWithContext implements cache.ListerWithContext. Of each object it keeps what
// identifies it, so that a list of all streams is small before it is taken over.
func (k kubeSource) ListWithContext(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	list, err := k.streams.List(ctx, options)
	if err != nil {
		return nil, err
	}
	for i := range list.Items {
		item := &list.Items[i]
		item.ObjectMeta = metav1.ObjectMeta{
			Namespace: item.Namespace, Name: item.Name,
			UID: item.UID, ResourceVersion: item.ResourceVersion,
		}
	}
	return list, nil
}

// WatchWithContext implements cache.WatcherWithContext.
func (k kubeSource) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	return k.streams.Watch(ctx, options)
}
