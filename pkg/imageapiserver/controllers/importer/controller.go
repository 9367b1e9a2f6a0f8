package importer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/controllers"
)

const (
	// shortestBackoff and longestBackoff bound the pause after an error that kept a result from being found
	// or recorded.
	shortestBackoff = 5 * time.Millisecond
	longestBackoff  = 16 * time.Minute
)

// Options make a Controller.
type Options struct {
	// Streams holds all image streams.
	Streams cache.SharedIndexInformer
	Runner  *Runner
	// Events, if set, is told about streams that are gone.
	Events *FailureEvents
	// Workers is the number of streams imported at a time; it may change.
	Workers func() int
	// Postpone, if set, is told before tags of a stream are imported, so that a scheduled import of the same
	// tags does not follow at once.
	Postpone func(stream *imageapi.ImageStream, tags []string)
	Clock    clock.WithTicker
}

// Validate tells what is missing.
func (o Options) Validate() error {
	if o.Streams == nil || o.Runner == nil || o.Workers == nil || o.Clock == nil {
		return errors.New("image import: streams, runner, workers and clock must be set")
	}
	return o.Runner.Validate()
}

// Controller imports what the specs of image streams ask for.
type Controller struct {
	Options
}

var _ controllers.Controller = (*Controller)(nil)

// New makes the controller. Nothing runs yet.
func New(options Options) (*Controller, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	registerMetrics()
	return &Controller{Options: options}, nil
}

// Name implements controllers.Controller.
func (*Controller) Name() string { return controllers.ImageImport }

// Run implements controllers.Controller.
func (c *Controller) Run(ctx context.Context) error {
	if !cache.WaitForCacheSync(ctx.Done(), c.Streams.HasSynced) {
		return nil
	}
	s := c.newSession()
	registration, err := c.Streams.AddEventHandler(s.handler())
	if err != nil {
		return fmt.Errorf("watch image streams: %w", err)
	}
	defer func() {
		if err := c.Streams.RemoveEventHandler(registration); err != nil {
			klog.FromContext(ctx).Error(err, "The handler of image streams cannot be removed")
		}
	}()
	s.run(ctx)
	return nil
}

// session is what is known while this process leads.
type session struct {
	*Controller
	queue   workqueue.TypedRateLimitingInterface[cache.ObjectName]
	retries *retries
}

func (c *Controller) newSession() *session {
	return &session{
		Controller: c,
		retries:    newRetries(),
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(
			workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](shortestBackoff, longestBackoff),
			workqueue.TypedRateLimitingQueueConfig[cache.ObjectName]{Clock: c.Clock}),
	}
}

func (s *session) handler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { s.look(obj) },
		UpdateFunc: func(before, after any) {
			if versionOf(before) != versionOf(after) {
				s.look(after)
			}
		},
		DeleteFunc: func(obj any) {
			if key, err := cache.DeletionHandlingObjectToName(obj); err == nil {
				s.forget(key)
			}
		},
	}
}

// look queues a stream that may need an import. Workers look again at the stream as it is stored.
func (s *session) look(obj any) {
	stream, ok := obj.(*imageapi.ImageStream)
	if !ok {
		return
	}
	key := cache.MetaObjectToName(stream)
	if stream.DeletionTimestamp != nil {
		return
	}
	if Needed(stream).Empty() && !s.retries.unknown(key.String(), stream) {
		return
	}
	s.queue.Add(key)
	s.measure()
}

func versionOf(obj any) string {
	if stream, ok := obj.(*imageapi.ImageStream); ok {
		return stream.ResourceVersion
	}
	return ""
}

func (s *session) measure() { queueDepth.Set(float64(s.queue.Len())) }

// run works on the queue until the context ends and the last import has ended.
func (s *session) run(ctx context.Context) {
	defer context.AfterFunc(ctx, s.queue.ShutDown)()
	slots, turns := NewSlots(s.Workers), NewTurns(s.Workers)
	var working sync.WaitGroup
	defer working.Wait()
	for slots.Take(ctx) {
		key, ended := s.next(turns)
		if ended {
			return
		}
		s.measure()
		working.Go(func() {
			defer slots.Free()
			defer s.queue.Done(key)
			defer func() {
				if next, found := turns.End(key.Namespace); found {
					s.queue.Add(next)
				}
			}()
			s.process(ctx, key)
		})
	}
}

// next takes a stream out of the queue whose namespace has a turn.
func (s *session) next(turns *Turns) (key cache.ObjectName, ended bool) {
	for {
		key, ended := s.queue.Get()
		if ended || turns.Begin(key) {
			return key, ended
		}
		s.queue.Done(key)
	}
}

// process imports what one stream needs now and finds out when it needs something again.
func (s *session) process(ctx context.Context, key cache.ObjectName) {
	var tried map[string]int
	outcome, err := s.Runner.Run(ctx, Request{
		Namespace: key.Namespace, Name: key.Name,
		Choose: func(stream *imageapi.ImageStream) Work {
			tried = s.retries.counts(key.String(), stream)
			work := s.retries.choose(key.String(), stream, Needed(stream), s.Clock.Now())
			if s.Postpone != nil && !work.Empty() {
				s.Postpone(stream, work.Tags)
			}
			return work
		},
	})
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		klog.FromContext(ctx).Error(err, "Import is tried again", "stream", key)
		s.queue.AddRateLimited(key)
		return
	}
	s.queue.Forget(key)
	// What waits for its finalizers is not imported any more: what is due of it would be due for ever.
	if outcome.Stream == nil || outcome.Stream.DeletionTimestamp != nil {
		s.forget(key)
		return
	}
	now := s.Clock.Now()
	s.retries.record(key.String(), outcome.Stream, outcome.Work, outcome.Failures, tried, now)
	if due, any := s.retries.observe(key.String(), outcome.Stream, now); any {
		s.queue.AddAfter(key, due.Sub(now))
	}
}

func (s *session) forget(key cache.ObjectName) {
	s.retries.forget(key.String())
	if s.Events != nil {
		s.Events.Forget(key.Namespace, key.Name)
	}
}
