package snapshot

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
)

const (
	// watchSeconds is how long a watch is asked for; then it begins again where it was.
	watchSeconds = 300
	// catchUp bounds how long decisions wait for a broken watch, counted from its break: a run of thousands
	// of decisions must not wait for each of them.
	catchUp = time.Minute
	// A new watch brings what happened since the list at once. It has been heard when the watch pauses, and on
	// a busy cluster after a limit.
	backlogPause = 100 * time.Millisecond
	backlogLimit = 2 * time.Second
	// maxShort is how many watches in a row may end before they were heard; then the kind is listed
	// once more and counts as one that cannot be watched.
	maxShort        = 5
	firstWatchDelay = 500 * time.Millisecond
	maxWatchDelay   = 30 * time.Second
)

// state is how current the references of a feed are.
type state int

const (
	// behind: it is not known what changed lately.
	behind state = iota
	// following: changes are added as they come.
	following
	// unwatched: changes cannot be followed at all; the list is read again when it matters.
	unwatched
)

// Watches add the references of objects that appear or change while a run goes on. Nothing is ever taken
// away.
type Watches struct {
	source Source
	snap   *Snapshot
	end    context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	states map[*feed]state
	// since is from when on a feed is behind.
	since map[*feed]time.Time
	// changed is closed and replaced with every change of states.
	changed chan struct{}
}

// Watch follows every kind from the version of its list until ctx ends or Stop is called.
func (s Source) Watch(ctx context.Context, snap *Snapshot) *Watches {
	ctx, end := context.WithCancel(ctx)
	w := &Watches{source: s, snap: snap, end: end, states: map[*feed]state{}, since: map[*feed]time.Time{}, changed: make(chan struct{})}
	for _, f := range snap.feeds {
		w.states[f], w.since[f] = behind, s.Clock.Now()
		if f.watch == nil {
			w.states[f] = unwatched
		}
	}
	for _, f := range snap.feeds {
		if f.watch != nil {
			version := f.version
			w.done.Go(func() { w.follow(ctx, f, version) })
		}
	}
	return w
}

// Stop ends the watches and waits for them.
func (w *Watches) Stop() {
	w.end()
	w.done.Wait()
}

// Settle brings the references up to date before images go: it reads the kinds again that cannot be
// watched, or whose watch is interrupted just now.
func (w *Watches) Settle(ctx context.Context) error {
	w.mu.Lock()
	var feeds []*feed
	for _, f := range w.snap.feeds {
		if w.states[f] != following {
			feeds = append(feeds, f)
		}
	}
	w.mu.Unlock()
	if len(feeds) == 0 {
		return nil
	}
	return w.source.read(ctx, w.snap, feeds)
}

// Current returns when no watch is behind. It is asked before each change, waits until a minute after a
// watch broke, and then names the kind of which it is not known who uses images.
func (w *Watches) Current(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	for {
		late, since, changed := w.late()
		if late == nil {
			return nil
		}
		if w.source.Clock.Since(since) >= catchUp {
			return interrupted(late, context.DeadlineExceeded)
		}
		select {
		case <-ctx.Done():
			return interrupted(late, ctx.Err())
		case <-changed:
		}
	}
}

func interrupted(f *feed, err error) error {
	return fmt.Errorf("the watch of %s is interrupted, so it is not known who uses images at the moment: %w", f.what, err)
}

// late returns a feed that is behind, since when it is, and a channel that is closed with the next change.
func (w *Watches) late() (*feed, time.Time, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.snap.feeds, func(f *feed) bool { return w.states[f] == behind })
	if i < 0 {
		return nil, time.Time{}, nil
	}
	f := w.snap.feeds[i]
	return f, w.since[f], w.changed
}

func (w *Watches) mark(f *feed, now state) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.states[f] != now {
		w.states[f], w.since[f] = now, w.source.Clock.Now()
		close(w.changed)
		w.changed = make(chan struct{})
	}
}

// follow keeps one feed current. A watch that ends in order goes on where it was; one that breaks, or whose
// version is forgotten, makes the whole list be read again.
func (w *Watches) follow(ctx context.Context, f *feed, version string) {
	delay, short := firstWatchDelay, 0
	for ctx.Err() == nil {
		events, err := f.watch(ctx, metav1.ListOptions{
			ResourceVersion: version, AllowWatchBookmarks: true, TimeoutSeconds: ptr.To[int64](watchSeconds),
		})
		if apierrors.IsForbidden(err) || apierrors.IsMethodNotSupported(err) {
			w.giveUp(ctx, f, err.Error())
			return
		}
		if err == nil {
			heard := func() { w.mark(f, following); delay, short = firstWatchDelay, -1 }
			if version, err = f.consume(ctx, w.source.Clock, events, version, heard); err == nil {
				w.mark(f, behind)
				if short++; short == maxShort {
					w.again(ctx, f, delay)
					w.giveUp(ctx, f, "its watches end at once")
					return
				}
				w.rest(ctx, firstWatchDelay)
				continue
			}
		}
		w.mark(f, behind)
		klog.FromContext(ctx).V(1).Info("A watch was interrupted, the kind is listed again", "kind", f.what, "reason", err.Error())
		version, delay = w.again(ctx, f, delay)
	}
}

// giveUp makes a kind one that cannot be watched.
func (w *Watches) giveUp(ctx context.Context, f *feed, reason string) {
	klog.FromContext(ctx).Info("Changes cannot be followed, the kind is listed again before images are deleted", "kind", f.what, "reason", reason)
	w.mark(f, unwatched)
}

// again lists a kind until that succeeds, and returns the version from which to watch.
func (w *Watches) again(ctx context.Context, f *feed, delay time.Duration) (string, time.Duration) {
	pages := pager{clock: w.source.Clock, chunkSize: w.source.ChunkSize}
	for ctx.Err() == nil {
		w.rest(ctx, delay)
		delay = min(2*delay, maxWatchDelay)
		_, version, err := pages.whole(ctx, f.what, f.read, func() {})
		if err == nil {
			return version, delay
		}
	}
	return "", delay
}

// rest keeps a server that ends every watch at once from being asked without a pause.
func (w *Watches) rest(ctx context.Context, delay time.Duration) {
	select {
	case <-ctx.Done():
	case <-w.source.Clock.After(delay):
	}
}

// consume adds what a watch brings and returns the version that was reached. It returns no error when the
// server only ended the watch. heard is called once, when what happened before the watch is known.
func (f *feed) consume(ctx context.Context, clock clock.Clock, events watch.Interface, version string, heard func()) (string, error) {
	defer events.Stop()
	pause, limit := clock.After(backlogPause), clock.After(backlogLimit)
	known := func() { pause, limit = nil, nil; heard() }
	for {
		select {
		case <-ctx.Done():
			return version, nil
		case <-pause:
			known()
		case <-limit:
			known()
		case event, open := <-events.ResultChan():
			if !open {
				return version, nil
			}
			if event.Type == watch.Error {
				return version, apierrors.FromObject(event.Object)
			}
			accessor, err := meta.Accessor(event.Object)
			if err != nil {
				return version, err
			}
			if event.Type == watch.Added || event.Type == watch.Modified {
				if err := f.add(event.Object); err != nil {
					return version, err
				}
			}
			version = accessor.GetResourceVersion()
			if pause != nil {
				pause = clock.After(backlogPause)
			}
		}
	}
}
