package streams_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/streams"
)

// gated answers about layers when it may.
type gated struct {
	streams.API
	gate  chan struct{}
	calls atomic.Int64
}

func (g *gated) Layers(ctx context.Context, _ route.Name) (*imagev1.ImageStreamLayers, error) {
	g.calls.Add(1)
	select {
	case <-g.gate:
		return &imagev1.ImageStreamLayers{}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func gatedViews(t *testing.T) (*gated, *streams.Views) {
	t.Helper()
	api := &gated{gate: make(chan struct{})}
	views, err := streams.New(streams.Options{API: api})
	if err != nil {
		t.Fatal(err)
	}
	return api, views
}

// Whoever invents digests makes the layers of a stream be read again and again, but never
// twice at the same time: each answer of a large stream needs megabytes.
func TestLayersAreNotReadTwiceAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, views := gatedViews(t)
		var askers sync.WaitGroup
		for range 50 {
			askers.Go(func() {
				if layers, err := views.Layers(t.Context(), app); err != nil || layers == nil {
					t.Errorf("layers %v, %v", layers, err)
				}
			})
		}
		synctest.Wait()
		if n := api.calls.Load(); n != 1 {
			t.Errorf("%d reads at the same time, want 1", n)
		}
		close(api.gate)
		askers.Wait()
		if n := api.calls.Load(); n != 2 {
			t.Errorf("%d reads in all, want 2: one for who came first, one for who came while it was under way", n)
		}
		if _, err := views.Layers(t.Context(), app); err != nil || api.calls.Load() != 3 {
			t.Errorf("a later question got %v and made %d reads in all, want 3: nothing is kept", err, api.calls.Load())
		}
	})
}

// An image API that never answers holds nobody for ever.
func TestLayersHaveAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, views := gatedViews(t)
		if _, err := views.Layers(t.Context(), app); err == nil {
			t.Error("no error from an image API that does not answer")
		}
	})
}
