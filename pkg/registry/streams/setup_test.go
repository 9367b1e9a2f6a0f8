package streams_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/imageapi"
	"image.alauda.io/registry/pkg/registry/imageapi/imageapitest"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/streams"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"
)

const patience = 20 * time.Second

var app = route.Name{Namespace: "team", Stream: "app"}

// counter is a streams.Observer.
type counter struct{ hits, misses, failures atomic.Int64 }

func (c *counter) ViewUsed(hit bool) {
	if hit {
		c.hits.Add(1)
		return
	}
	c.misses.Add(1)
}

func (c *counter) StreamWatchFailed() { c.failures.Add(1) }

// fixture is an image API with the stream app, and views of it that are followed.
type fixture struct {
	*streams.Views
	t     *testing.T
	api   *imageapitest.API
	own   imageapi.Client
	clock *testingclock.FakeClock
	seen  *counter
	logs  *observer.ObservedLogs
}

func start(t *testing.T, change ...func(*streams.Options)) *fixture {
	t.Helper()
	f := build(t, change...)
	f.run()
	f.eventually("the watch is believed", f.Healthy)
	return f
}

func build(t *testing.T, change ...func(*streams.Options)) *fixture {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	f := &fixture{t: t, clock: testingclock.NewFakeClock(time.Now()), seen: &counter{}, logs: logs}
	f.api = imageapitest.New("registry.test:5000", f.clock.Now)
	f.api.AddNamespace("team")
	f.api.AddStream(stream("team", "app", "v1"))
	options := streams.Options{API: f.api, Source: f.api, Now: f.clock.Now, Observer: f.seen, Log: zap.New(core)}
	for _, set := range change {
		set(&options)
	}
	var err error
	if f.Views, err = streams.New(options); err != nil {
		t.Fatal(err)
	}
	f.own = f.Client(f.api)
	return f
}

func (f *fixture) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.Run(ctx)
	}()
	f.t.Cleanup(func() {
		cancel()
		<-ended
	})
}

// eventually polls, because what is waited for arrives through a watch.
func (f *fixture) eventually(what string, holds func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); {
		if time.Now().After(deadline) {
			f.t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(time.Millisecond)
	}
}

func (f *fixture) view(name route.Name) *streams.View {
	f.t.Helper()
	view, _, err := f.View(f.t.Context(), name)
	if err != nil {
		f.t.Fatal(err)
	}
	return view
}

// followed waits until a look at the stream needs no read.
func (f *fixture) followed(name route.Name) {
	f.t.Helper()
	f.eventually("a view of "+name.String(), func() bool {
		before := f.seen.hits.Load()
		f.view(name)
		return f.seen.hits.Load() > before
	})
}

func stream(namespace, name string, tags ...string) *imagev1.ImageStream {
	s := &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	for _, tag := range tags {
		s.Status.Tags = append(s.Status.Tags, imagev1.NamedTagEventList{Tag: tag, Items: []imagev1.TagEvent{{Image: image(tag)}}})
	}
	return s
}

func image(text string) string {
	return "sha256:" + strings.Repeat(fmt.Sprintf("%02x", len(text)), 16) + text
}

func mapping(tag, digest string) *imagev1.ImageStreamMapping {
	m := &imagev1.ImageStreamMapping{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app"}, Tag: tag}
	m.Image.Name = digest
	return m
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) shows(tag, want string) {
	f.t.Helper()
	if got, _ := f.view(app).Image(tag); got != want {
		f.t.Errorf("tag %s shows %q, want %q", tag, got, want)
	}
}
