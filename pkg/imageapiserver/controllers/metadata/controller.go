package metadata

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/controllers"
	"image.alauda.io/registry/pkg/imageapiserver/controllers/importer"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/lastref"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
)

const (
	// perSecond bounds how many Images are looked up in a second.
	perSecond = 5
	workers   = 4
	// firstBackoff and longestBackoff bound the pause after an Image could not be completed.
	firstBackoff   = time.Second
	longestBackoff = time.Hour
	// imageTimeout bounds the work on one Image with everything below it.
	imageTimeout = 10 * time.Minute
)

// Images reads, creates and changes Images.
type Images interface {
	List(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object, error)
	Watch(ctx context.Context, options *metainternalversion.ListOptions) (watch.Interface, error)
	Find(ctx context.Context, name string) (*imageapi.Image, error)
	Record(ctx context.Context, image *imageapi.Image, dryRun []string) (*imageapi.Image, error)
	Change(ctx context.Context, name string, fn func(*imageapi.Image)) error
}

// Store changes image streams of the namespace in ctx.
type Store interface {
	Mutate(ctx context.Context, name string, mutation imagestream.Mutation, fn func(*imageapi.ImageStream) error) (*imageapi.ImageStream, bool, error)
}

// Streams lists all image streams, which must not be changed.
type Streams interface {
	All() []*imageapi.ImageStream
}

// Options make a Controller.
type Options struct {
	Images   Images
	Streams  Streams
	Store    Store
	Registry Registry
	Hosts    repository.HostSource
	Clock    clock.WithTicker
}

// Validate tells what is missing.
func (o Options) Validate() error {
	if o.Images == nil || o.Streams == nil || o.Store == nil || o.Registry == nil || o.Hosts == nil || o.Clock == nil {
		return errors.New("image metadata: images, streams, store, registry, hosts and clock must be set")
	}
	return nil
}

// Controller completes Images.
type Controller struct {
	Options
	stamper *lastref.Stamper
}

var _ controllers.Controller = (*Controller)(nil)

// New makes the controller. Nothing runs yet.
func New(options Options) (*Controller, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	return &Controller{Options: options, stamper: lastref.NewStamper(options.Images, options.Clock)}, nil
}

// Name implements controllers.Controller.
func (*Controller) Name() string { return controllers.ImageMetadata }

// Run implements controllers.Controller.
func (c *Controller) Run(ctx context.Context) error {
	ctx = importer.ServerContext(ctx, "")
	queue := workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.NewTypedItemExponentialFailureRateLimiter[string](firstBackoff, longestBackoff),
		workqueue.TypedRateLimitingQueueConfig[string]{Clock: c.Clock})
	defer context.AfterFunc(ctx, queue.ShutDown)()
	var working sync.WaitGroup
	defer working.Wait()
	working.Go(func() { follow(ctx, c.Images, queue.Add) })
	limiter := rate.NewLimiter(perSecond, perSecond)
	for range workers {
		working.Go(func() {
			for c.next(ctx, queue, limiter) {
			}
		})
	}
	return nil
}

// next completes the next Image, and returns false when there will be none any more.
func (c *Controller) next(ctx context.Context, queue workqueue.TypedRateLimitingInterface[string], limiter *rate.Limiter) bool {
	name, ended := queue.Get()
	if ended {
		return false
	}
	defer queue.Done(name)
	if !c.pace(ctx, limiter) {
		return false
	}
	bounded, cancel := context.WithTimeout(ctx, imageTimeout)
	defer cancel()
	err := c.complete(bounded, name)
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil:
		klog.FromContext(ctx).V(2).Info("Image cannot be completed yet", "digest", name, "err", err)
		queue.AddRateLimited(name)
	default:
		queue.Forget(name)
	}
	return true
}

// pace waits until another Image may be looked up, and returns false when the context ends first.
func (c *Controller) pace(ctx context.Context, limiter *rate.Limiter) bool {
	now := c.Clock.Now()
	pause := limiter.ReserveN(now, 1).DelayFrom(now)
	if pause <= 0 {
		return ctx.Err() == nil
	}
	timer := c.Clock.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C():
		return true
	}
}

// change changes the status of a stream, unless it was replaced by another one of the same name.
func (c *Controller) change(ctx context.Context, stream *imageapi.ImageStream, fn func(*imageapi.ImageStream)) error {
	mutation := imagestream.Mutation{Part: imagestream.StatusOnly, UID: stream.UID}
	_, _, err := c.Store.Mutate(importer.ServerContext(ctx, stream.Namespace), stream.Name, mutation, func(current *imageapi.ImageStream) error {
		fn(current)
		return nil
	})
	return err
}
