package importer

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"image.alauda.io/api/image/reference"
)

// Whoever has registries that never answer must not keep others from importing.
func TestATenantLeavesPlacesToOthers(t *testing.T) {
	s := newScripted()
	var hanging atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	s.before = func(ctx context.Context, asked string) error {
		if strings.Contains(asked, "hangs") {
			hanging.Add(1)
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	s.image(app, "v1", "amd64", "a")
	i := engine(t, s, func(o *Options) {
		o.Settings = func() Settings { return Settings{MaxTags: 1, Workers: 10} }
	})
	var group sync.WaitGroup
	for request := range 6 {
		var items []Item
		for item := range 5 {
			items = append(items, Item{From: fmt.Sprintf("hangs-%d-%d.example/app:v1", request, item)})
		}
		group.Go(func() { i.Import(ctx, Request{Tenant: "greedy", Items: items}) })
	}
	waitFor(t, func() bool { return hanging.Load() >= 5 })
	limited, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	result := i.Import(limited, Request{Tenant: "modest", Items: []Item{{From: app + ":v1"}}})
	if err := result.Items[0].Err; err != nil {
		t.Errorf("another tenant's import: %v", err)
	}
	if n := hanging.Load(); n > 5 {
		t.Errorf("one tenant has %d places, want at most 5 of 10", n)
	}
	cancel()
	group.Wait()
	if i.process.used != 0 || len(i.tenants.names) != 0 || len(i.hosts.names) != 0 {
		t.Errorf("at the end %d places are used, by %d tenants at %d hosts", i.process.used, len(i.tenants.names), len(i.hosts.names))
	}
}

func TestAllRequestsTogetherKeepABoundedNumberOfBytes(t *testing.T) {
	s := newScripted()
	s.image(app, "v1", "amd64", "a")
	i := engine(t, s, func(o *Options) { o.Limits.ProcessBytes = 100 })
	r := one(t, i, Item{From: app + ":v1"})
	failed(t, r, "TooManyRequests", "too much at present")
	if !r.Err.Transient || r.Err.RetryAfter == 0 {
		t.Errorf("the error does not say that it passes: %+v", r.Err)
	}
	i = engine(t, s)
	for range 3 {
		imported(t, one(t, i, Item{From: app + ":v1"}))
		if n := i.memory.used.Load(); n != 0 {
			t.Errorf("%d bytes are still counted after the request", n)
		}
	}
}

// What strangers send takes many times its size while it is read.
func TestFewDocumentsAreReadAtATime(t *testing.T) {
	s := newScripted()
	s.image(app, "v1", "amd64", "a")
	i := engine(t, s, func(o *Options) { o.Limits.Parsers = 1 })
	if err := i.parsing.acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if r := i.Import(ctx, Request{Items: []Item{{From: app + ":v1"}}}).Items[0]; r.Err == nil || !r.Unfinished {
		t.Errorf("a document was read beside another one: %+v", r)
	}
	i.parsing.release()
	imported(t, one(t, i, Item{From: app + ":v1"}))
}

func TestSpellingsOfAHostShareItsPlaces(t *testing.T) {
	p := newPlan(DefaultSettings(), Platform{}, false)
	want := p.repository(reference.DockerImageReference{Registry: "slow.example", Name: "app"}, Policy{})
	for _, host := range []string{"Slow.example", "SLOW.EXAMPLE:443", "slow.example:443"} {
		if got := p.repository(reference.DockerImageReference{Registry: host, Name: "app"}, Policy{}); got != want {
			t.Errorf("%s is %+v, want %+v", host, got, want)
		}
	}
}

func TestShortenedTextsStayTexts(t *testing.T) {
	for n := range 5 {
		if text := shorten(strings.Repeat("x", n) + strings.Repeat("語", 50)); !utf8.ValidString(text) || len(text) > 110 {
			t.Errorf("shortened to %q", text)
		}
	}
}
