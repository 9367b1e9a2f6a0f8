package trigger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"image.alauda.io/api/image/tags"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/controllers"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/history"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/tagview"
	"image.alauda.io/registry/pkg/imageapiserver/streaminformer"
)

const (
	// FieldManager signs the patches.
	FieldManager = "image-trigger-controller"

	workers          = 4
	firstBackoff     = time.Second
	longestBackoff   = 30 * time.Second
	forbiddenBackoff = 10 * time.Minute
)

// Options are what the controller needs.
type Options struct {
	// Streams holds all image streams; somebody else runs it.
	Streams cache.SharedIndexInformer
	// Metadata watches workloads, Workloads reads and patches them.
	Metadata  metadata.Interface
	Workloads dynamic.Interface
	// AccessReviews asks about tags of other namespaces.
	AccessReviews AccessReviews
	// Events go to the owners of workloads.
	Events record.EventRecorder
	// Clock is the real one if nil.
	Clock clock.WithTicker
}

// Validate tells what is missing.
func (o Options) Validate() error {
	if o.Streams == nil || o.Metadata == nil || o.Workloads == nil || o.AccessReviews == nil || o.Events == nil {
		return errors.New("image triggers: Streams, Metadata, Workloads, AccessReviews and Events must be set")
	}
	return nil
}

// Controller is the image-trigger controller.
type Controller struct{ options Options }

// New makes the controller.
func New(options Options) (*Controller, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	registerMetrics()
	return &Controller{options}, nil
}

// Name implements controllers.Controller.
func (*Controller) Name() string { return controllers.ImageTrigger }

// Run implements controllers.Controller. What was learned in an earlier term is forgotten: meanwhile another
// process worked.
func (c *Controller) Run(ctx context.Context) error {
	t := newTerm(c.options)
	registration, err := c.options.Streams.AddEventHandler(t.onStreams())
	if err != nil {
		return fmt.Errorf("watch image streams: %w", err)
	}
	defer func() {
		if err := c.options.Streams.RemoveEventHandler(registration); err != nil {
			klog.FromContext(ctx).Error(err, "Image streams are still watched")
		}
	}()
	if !cache.WaitForCacheSync(ctx.Done(), c.options.Streams.HasSynced) {
		return nil
	}
	var running sync.WaitGroup
	for kind := range kinds {
		running.Go(func() { newCarriers(kind, t.changed, t.gone).watch(ctx, c.options.Metadata) })
	}
	for range workers {
		running.Go(func() { t.work(ctx) })
	}
	<-ctx.Done()
	t.queue.ShutDown()
	running.Wait()
	return nil
}

// term is the work of one term of leadership.
type term struct {
	Options
	streams streaminformer.Lister
	index   *index
	guard   *guard
	access  *access
	told    *told
	queue   workqueue.TypedRateLimitingInterface[workload]
}

func newTerm(options Options) *term {
	return &term{
		Options: options,
		streams: streaminformer.NewLister(options.Streams),
		index:   newIndex(), guard: newGuard(), told: newTold(),
		access: newAccess(options.AccessReviews, options.Clock),
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(
			workqueue.NewTypedItemExponentialFailureRateLimiter[workload](firstBackoff, longestBackoff),
			workqueue.TypedRateLimitingQueueConfig[workload]{Name: controllers.ImageTrigger, Clock: options.Clock}),
	}
}

func (t *term) changed(w workload, followed []tags.StreamTag) {
	t.index.set(w, followed)
	t.queue.Add(w)
}

func (t *term) gone(w workload) {
	t.index.set(w, nil)
	t.guard.forget(w)
	t.told.forget(w)
	t.queue.Forget(w)
}

// onStreams looks at the workloads that follow a tag whose pull spec changed.
func (t *term) onStreams() cache.ResourceEventHandlerFuncs {
	moved := func(old, now *imageapi.ImageStream) {
		for _, l := range t.index.listeners(stream{now.Namespace, now.Name}) {
			before, _ := pullSpec(old, l.tag)
			if after, found := pullSpec(now, l.tag); found && before != after {
				t.queue.Add(l.workload)
			}
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) {
			if now, ok := obj.(*imageapi.ImageStream); ok {
				moved(&imageapi.ImageStream{}, now)
			}
		},
		UpdateFunc: func(before, after any) {
			old, ok := before.(*imageapi.ImageStream)
			now, same := after.(*imageapi.ImageStream)
			if ok && same {
				moved(old, now)
			}
		},
	}
}

// pullSpec is what a tag gives away at the moment, or false if it has no event.
func pullSpec(s *imageapi.ImageStream, tag string) (string, bool) {
	event, found := history.Head(s, tag)
	if !found {
		return "", false
	}
	reference := tagview.Reference(s, tag, event)
	return reference, reference != ""
}

func (t *term) work(ctx context.Context) {
	for {
		w, shutdown := t.queue.Get()
		if shutdown {
			return
		}
		t.handle(ctx, w)
		t.queue.Done(w)
	}
}

func (t *term) handle(ctx context.Context, w workload) {
	again, err := t.sync(ctx, w)
	if err != nil && ctx.Err() == nil {
		klog.FromContext(ctx).V(2).Info("The workload could not follow its tags, it is tried again", "workload", w.String(), "err", err)
		t.queue.AddRateLimited(w)
		return
	}
	t.queue.Forget(w)
	if again > 0 {
		t.queue.AddAfter(w, again)
	}
}
