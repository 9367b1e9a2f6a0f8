// Package streams keeps what requests need of image streams, so that a pull by tag, a
// list of tags and a page of the catalog cost no read of the image API.
//
// In come the answers of the image API: one read for each stream that is asked for, and
// a watch of the metadata of all streams. Out come views, which are decoded once, bounded
// in bytes and shared, and the sorted names of all streams.
//
// A view is used while the watch shows the same version of the stream and is known to
// work. Otherwise a request reads the stream itself, and so must whoever is about to say
// that a stream, a tag or a digest does not exist: Fresh never answers with a read that
// began before it was called. After a write of this process (Client) the view and every
// read that is under way are dropped, so that nobody here sees what was before it; the
// versions on both sides then keep requests on live reads until the watch has seen the
// write. A watch that cannot be had costs speed and nothing else.
//
// It decides nothing about permissions, and nothing that it returns may be changed.
package streams

import (
	"context"
	"errors"
	"fmt"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/route"

	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"
)

const (
	// DefaultMaxBytes bounds all views together.
	DefaultMaxBytes = 64 << 20
	// DefaultMaxSilence is how long a watch without any event is believed. Servers send
	// bookmarks about once a minute.
	DefaultMaxSilence = 90 * time.Second
	// readTimeout ends a read of the image API that nobody may wait for any more.
	readTimeout = 15 * time.Second
	// layersTimeout is that of an answer for which the image API reads every Image.
	layersTimeout = 30 * time.Second
)

// API is what is read of the image API.
type API interface {
	Stream(ctx context.Context, name route.Name) (*imagev1.ImageStream, error)
	StreamNames(ctx context.Context) ([]route.Name, error)
	Layers(ctx context.Context, name route.Name) (*imagev1.ImageStreamLayers, error)
}

// Observer counts. All methods must be safe for concurrent use.
type Observer interface {
	// ViewUsed is called for each look at a stream: hit says that no read was needed.
	ViewUsed(hit bool)
	// StreamWatchFailed is called for each list or watch that failed.
	StreamWatchFailed()
}

// Options of Views.
type Options struct {
	API API
	// Source lists and watches the metadata of all streams (NewKubeSource); nil for none,
	// then every look is a read.
	Source cache.ListerWatcherWithContext
	// MaxBytes bounds all views together, MaxSilence the trust in a silent watch.
	MaxBytes   int64
	MaxSilence time.Duration
	Now        func() time.Time
	Log        *zap.Logger
	Observer   Observer
	// Gone is called when the watch shows that a stream was deleted, also when another one
	// has its name already; it must not ask these Views. May be nil.
	Gone func(route.Name)
}

// Defaults fills in what is not set.
func (o *Options) Defaults() {
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MaxSilence == 0 {
		o.MaxSilence = DefaultMaxSilence
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Observer == nil {
		o.Observer = unobserved{}
	}
}

// Validate checks the options.
func (o *Options) Validate() error {
	switch {
	case o.API == nil:
		return errors.New("stream views: no image API")
	case o.MaxBytes < 0 || o.MaxSilence < 0:
		return errors.New("stream views: negative bounds")
	}
	return nil
}

type unobserved struct{}

func (unobserved) ViewUsed(bool)      {}
func (unobserved) StreamWatchFailed() {}

// Views are the streams of the cluster as this process knows them. All methods may be
// used concurrently.
type Views struct {
	options Options
	known   *known
	kept    *kept
	reads   *flights[route.Name, *View]
	lists   *flights[struct{}, sortedNames]
	layers  *flights[route.Name, *imagev1.ImageStreamLayers]
}

// New returns Views that know nothing yet. Nothing is asked before Run.
func New(options Options) (*Views, error) {
	options.Defaults()
	if err := options.Validate(); err != nil {
		return nil, err
	}
	v := &Views{options: options, known: newKnown(options.Now, options.MaxSilence), kept: newKept(options.MaxBytes)}
	if options.Gone != nil {
		v.known.gone = options.Gone
	}
	v.reads = newFlights(v.read, v.keep)
	v.lists = newFlights(v.list, nil)
	v.layers = newFlights(v.readLayers, nil)
	return v, nil
}

// View returns a stream as this process knows it. fresh says that it was read after the
// call; without it, what is missing in the view may exist by now.
func (v *Views) View(ctx context.Context, name route.Name) (view *View, fresh bool, err error) {
	if view := v.usable(name); view != nil {
		v.options.Observer.ViewUsed(true)
		return view, false, nil
	}
	v.options.Observer.ViewUsed(false)
	return v.reads.get(ctx, name, false)
}

// Fresh reads a stream. Those who ask at the same time share a read, but none that began
// before they asked.
func (v *Views) Fresh(ctx context.Context, name route.Name) (*View, error) {
	v.options.Observer.ViewUsed(false)
	view, _, err := v.reads.get(ctx, name, true)
	return view, err
}

// Layers reads what the images of a stream consist of. Nothing of it is kept, because it
// changes with Images, too; but those who ask at the same time share a read that began
// after they asked. The answer of a large stream has megabytes, and whoever may read the
// stream makes it be read with each digest that he invents.
func (v *Views) Layers(ctx context.Context, name route.Name) (*imagev1.ImageStreamLayers, error) {
	layers, _, err := v.layers.get(ctx, name, true)
	return layers, err
}

// Bytes is the estimated size of all views.
func (v *Views) Bytes() int64 { return v.kept.size() }

// Healthy tells whether the watch of the streams is believed.
func (v *Views) Healthy() bool { return v.known.healthy() }

// usable returns the view of a stream if it may be used now.
func (v *Views) usable(name route.Name) *View {
	if !v.known.healthy() {
		return nil
	}
	version, found := v.known.version(name)
	if !found {
		return nil
	}
	view := v.kept.get(name)
	if view == nil || view.version != version {
		return nil
	}
	return view
}

// read is one read of a stream, shared by all who wait for it.
func (v *Views) read(ctx context.Context, name route.Name) (*View, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	stream, err := v.options.API.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("image stream %s: %w", name, err)
	}
	return newView(stream), nil
}

func (v *Views) readLayers(ctx context.Context, name route.Name) (*imagev1.ImageStreamLayers, error) {
	ctx, cancel := context.WithTimeout(ctx, layersTimeout)
	defer cancel()
	return v.options.API.Layers(ctx, name)
}

// keep takes the result of a read unless the stream was written meanwhile.
func (v *Views) keep(name route.Name, view *View, err error) {
	switch {
	case err == nil && v.options.Source != nil:
		v.kept.put(name, view)
	case Missing(err):
		v.kept.remove(name)
	}
}

// changed forgets a stream that this process has written, or may have written.
func (v *Views) changed(name route.Name) {
	v.reads.forget(name, func() { v.kept.remove(name) })
}

// Missing tells a stream that does not exist from an API that is not served.
func Missing(err error) bool {
	if !apierrors.IsNotFound(err) {
		return false
	}
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Name != ""
}
