package streams_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/imageapi/imageapitest"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/streams"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Part of behaviour 46a: repeated looks at a stream read it once.
func TestViewIsReadOnce(t *testing.T) {
	f := start(t)
	for range 10 {
		f.shows("v1", image("v1"))
	}
	if n := f.api.Calls("Stream"); n != 1 {
		t.Errorf("%d reads of the stream, want 1", n)
	}
}

// Part of behaviour 46a: what another replica has moved is seen when the watch tells.
func TestMovedTagIsSeenThroughTheWatch(t *testing.T) {
	f := start(t)
	f.shows("v1", image("v1"))
	f.must(f.api.CreateMapping(t.Context(), mapping("v1", "sha256:moved")))
	f.eventually("the moved tag", func() bool {
		got, _ := f.view(app).Image("v1")
		return got == "sha256:moved"
	})
	f.followed(app)
}

// Part of behaviour 46a: after a write of its own a process reads live until the watch has
// shown the write.
func TestOwnWritesAreSeenAtOnce(t *testing.T) {
	for name, write := range map[string]func(*fixture) error{
		"mapping":    func(f *fixture) error { return f.own.CreateMapping(f.t.Context(), mapping("v1", "sha256:own")) },
		"tag delete": func(f *fixture) error { return f.own.DeleteTag(f.t.Context(), app, "v1") },
		"status": func(f *fixture) error {
			stream, err := f.own.Stream(f.t.Context(), app)
			f.must(err)
			stream.Status.Tags[0].Items[0].Image = "sha256:own"
			return f.own.UpdateStreamStatus(f.t.Context(), stream)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			f.t = t
			f.followed(app)
			release := f.api.HoldWatches()
			f.must(write(f))
			want := "sha256:own"
			if name == "tag delete" {
				want = ""
			}
			hits := f.seen.hits.Load()
			for range 3 {
				f.shows("v1", want)
			}
			if f.seen.hits.Load() != hits {
				t.Error("a view was used before the watch had shown the write")
			}
			release()
			f.followed(app)
			f.shows("v1", want)
		})
	}
}

// A write that changes nothing moves no version, so views go on at once.
func TestWriteWithoutChangeKeepsViewsUsable(t *testing.T) {
	f := start(t)
	f.must(f.own.CreateMapping(t.Context(), mapping("v1", "sha256:same")))
	f.followed(app)
	f.api.Fail(func(call string) error {
		if call == "CreateMapping" {
			return errors.New("no answer")
		}
		return nil
	})
	if err := f.own.CreateMapping(t.Context(), mapping("v1", "sha256:other")); err == nil {
		t.Fatal("the write did not fail")
	}
	f.followed(app)
	f.shows("v1", "sha256:same")
}

// slow returns what it has read only when it may.
type slow struct {
	streams.API
	hold  atomic.Bool
	began chan struct{}
	gate  chan struct{}
	ended sync.WaitGroup
}

func (s *slow) Stream(ctx context.Context, name route.Name) (*imagev1.ImageStream, error) {
	stream, err := s.API.Stream(ctx, name)
	if s.hold.Load() {
		s.began <- struct{}{}
		select {
		case <-s.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return stream, err
}

func startSlow(t *testing.T) (*fixture, *slow) {
	t.Helper()
	s := &slow{began: make(chan struct{}, 10), gate: make(chan struct{})}
	f := start(t, func(options *streams.Options) {
		s.API = options.API
		options.API = s
	})
	s.hold.Store(true)
	return f, s
}

// look asks for a stream in the background.
func (s *slow) look(read func()) {
	s.ended.Go(read)
	<-s.began
}

// A read that began before an own write must not become the view after it.
func TestReadBeforeAnOwnWriteIsNotKept(t *testing.T) {
	f, s := startSlow(t)
	s.look(func() { f.shows("v1", image("v1")) })
	release := f.api.HoldWatches()
	f.must(f.own.CreateMapping(t.Context(), mapping("v1", "sha256:own")))
	s.hold.Store(false)
	f.shows("v1", "sha256:own") // does not wait for the read before the write
	close(s.gate)
	s.ended.Wait()
	f.shows("v1", "sha256:own")
	release()
	f.followed(app)
	f.shows("v1", "sha256:own")
}

// Part of behaviour 46a: before something is said to be missing, a read is made that began
// after the question. Those who ask meanwhile share one.
func TestFreshDoesNotJoinAnOlderRead(t *testing.T) {
	f, s := startSlow(t)
	s.look(func() { f.shows("new", "") })
	f.must(f.api.CreateMapping(t.Context(), mapping("new", "sha256:new"))) // another replica
	before := f.api.Calls("Stream")
	const askers = 5
	for range askers {
		s.ended.Go(func() {
			view, err := f.Fresh(t.Context(), app)
			if err != nil {
				t.Error(err)
				return
			}
			if got, _ := view.Image("new"); got != "sha256:new" {
				t.Errorf("the new tag shows %q", got)
			}
		})
	}
	f.eventually("all wait", func() bool { return f.seen.misses.Load() == askers+1 })
	s.hold.Store(false)
	close(s.gate)
	s.ended.Wait()
	if n := f.api.Calls("Stream") - before; n < 1 || n > 2 {
		t.Errorf("%d reads for %d questions", n, askers)
	}
}

func TestWaiterThatLeavesDoesNotEndTheReadOfOthers(t *testing.T) {
	f, s := startSlow(t)
	ctx, leave := context.WithCancel(t.Context())
	s.look(func() {
		if _, _, err := f.View(ctx, app); !errors.Is(err, context.Canceled) {
			t.Errorf("the one who left got %v", err)
		}
	})
	s.ended.Go(func() { f.shows("v1", image("v1")) })
	f.eventually("both wait", func() bool { return f.seen.misses.Load() == 2 })
	leave()
	close(s.gate)
	s.ended.Wait()
	if n := f.api.Calls("Stream"); n != 1 {
		t.Errorf("%d reads, want 1", n)
	}
}

// Part of behaviour 46a: a silent watch is not believed, a bookmark is enough to be.
func TestSilentWatchLeadsToLiveReads(t *testing.T) {
	f := start(t)
	f.followed(app)
	f.clock.Step(90 * time.Second)
	hits := f.seen.hits.Load()
	if f.view(app); f.seen.hits.Load() != hits+1 {
		t.Error("after 90 s the view is not used")
	}
	f.clock.Step(time.Second)
	if f.view(app); f.seen.hits.Load() != hits+1 {
		t.Error("after 91 s of silence the view is used")
	}
	f.api.Bookmark()
	f.followed(app)
}

// Part of behaviour 77: while the API is away, views answer for 90 s, and then nothing is
// said to be missing.
func TestViewsWithoutTheAPI(t *testing.T) {
	f := start(t)
	f.followed(app)
	f.api.Fail(func(string) error { return errors.New("connection refused") })
	f.api.BreakWatches()
	f.shows("v1", image("v1"))
	if _, err := f.Fresh(t.Context(), app); err == nil || streams.Missing(err) {
		t.Errorf("a fresh read: %v, want the error of the API", err)
	}
	f.eventually("the failure is counted", func() bool { return f.seen.failures.Load() > 0 })
	f.clock.Step(91 * time.Second)
	if _, _, err := f.View(t.Context(), app); err == nil || streams.Missing(err) {
		t.Errorf("after 91 s: %v, want the error of the API", err)
	}
	if _, err := f.Names(t.Context()); err == nil {
		t.Error("the names of streams are known without API and watch")
	}
	f.api.Fail(nil)
	f.eventually("the watch is believed again", f.Healthy)
	f.followed(app)
}

// A registry without the right to list works, says so once, and asks again.
func TestRefusedListIsNoFailureOfRequests(t *testing.T) {
	f := build(t)
	f.api.Fail(func(call string) error {
		if call == "ListStreams" {
			return apierrors.NewForbidden(imagev1.Resource("imagestreams"), "", errors.New("no"))
		}
		return nil
	})
	f.run()
	f.eventually("two attempts", func() bool { return f.seen.failures.Load() >= 2 })
	f.shows("v1", image("v1"))
	names, err := f.Names(t.Context())
	if err != nil || !slices.Equal(names.After("", 10), []string{"team/app"}) {
		t.Errorf("names %v, error %v", names, err)
	}
	if n := f.logs.FilterMessageSnippet("cannot be followed").Len(); n != 1 {
		t.Errorf("%d log lines about the failure, want 1", n)
	}
	f.api.Fail(nil)
	f.eventually("the watch is believed", f.Healthy)
}

// Streams that were deleted and created again are other streams.
func TestRecreatedStream(t *testing.T) {
	f := start(t)
	f.followed(app)
	f.api.DeleteStream(app)
	f.eventually("the deletion", func() bool {
		_, _, err := f.View(t.Context(), app)
		return streams.Missing(err)
	})
	f.api.AddStream(stream("team", "app", "v2"))
	f.shows("v2", image("v2"))
	f.followed(app)
	f.shows("v1", "")
}

// Behaviour 46a, the bound: all views together stay below it.
func TestViewsAreBounded(t *testing.T) {
	const bound = 64 << 10
	f := start(t, func(options *streams.Options) { options.MaxBytes = bound })
	for i := range 100 {
		f.api.AddStream(stream("team", fmt.Sprint("s", i), "a", "b", "c"))
	}
	for i := range 100 {
		f.followed(route.Name{Namespace: "team", Stream: fmt.Sprint("s", i)})
		if size := f.Bytes(); size > bound || size == 0 {
			t.Fatalf("%d bytes of views, want at most %d", size, bound)
		}
	}
	before := f.api.Calls("Stream")
	f.view(route.Name{Namespace: "team", Stream: "s99"})
	if f.api.Calls("Stream") != before {
		t.Error("the view used last was dropped")
	}
	f.view(route.Name{Namespace: "team", Stream: "s0"})
	if f.api.Calls("Stream") != before+1 {
		t.Error("the view used first was not dropped")
	}
	large := stream("team", "large")
	for i := range 2000 {
		large.Status.Tags = append(large.Status.Tags, stream("", "", fmt.Sprint("tag", i)).Status.Tags...)
	}
	f.api.AddStream(large)
	for range 2 {
		if n := len(f.view(route.Name{Namespace: "team", Stream: "large"}).Tags()); n != 2000 {
			t.Errorf("%d tags of the large stream", n)
		}
	}
	if size := f.Bytes(); size > bound {
		t.Errorf("%d bytes with the large stream", size)
	}
}

func TestCreatedStreamIsInTheCatalogAtOnce(t *testing.T) {
	f := start(t)
	names := func() []string {
		list, err := f.Names(t.Context())
		f.must(err)
		return list.After("", 10)
	}
	release := f.api.HoldWatches()
	f.must(f.own.CreateStream(t.Context(), stream("team", "new")))
	f.must(f.own.CreateStream(t.Context(), stream("team", "short")))
	if got := names(); !slices.Equal(got, []string{"team/app", "team/new", "team/short"}) {
		t.Errorf("names after the creation: %v", got)
	}
	f.api.DeleteStream(route.Name{Namespace: "team", Stream: "short"})
	release()
	f.eventually("the deletion", func() bool { return slices.Equal(names(), []string{"team/app", "team/new"}) })
	f.clock.Step(time.Minute)
	f.api.Bookmark()
	f.eventually("the bookmark", f.Healthy)
	if got := names(); !slices.Equal(got, []string{"team/app", "team/new"}) {
		t.Errorf("names after a minute: %v", got)
	}
	if n := f.api.Calls("StreamNames"); n != 0 {
		t.Errorf("the names were read %d times", n)
	}
}

func TestValidate(t *testing.T) {
	for name, options := range map[string]streams.Options{
		"no API":         {},
		"negative bytes": {API: imageapitest.New("", time.Now), MaxBytes: -1},
		"negative time":  {API: imageapitest.New("", time.Now), MaxSilence: -1},
	} {
		if _, err := streams.New(options); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
