package scheduled

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/controllers"
	"image.alauda.io/registry/pkg/imageapiserver/controllers/importer"
)

// longestSleep is how long a changed configuration may go unnoticed.
const longestSleep = 10 * time.Second

// Settings are the parts of the configuration that the schedule obeys. They may change at any time.
type Settings struct {
	// Disabled stops scheduled imports.
	Disabled bool
	// Interval is the time between two imports of a stream, positive.
	Interval time.Duration
	// PerMinute bounds the imports of streams that begin in a minute; after a pause up to twice as many begin
	// at once.
	PerMinute int
	// Workers is the number of streams imported at a time.
	Workers int
}

// Runner imports parts of a stream.
type Runner interface {
	Run(ctx context.Context, req importer.Request) (importer.Outcome, error)
}

// Options make a Controller.
type Options struct {
	// Streams holds all image streams.
	Streams cache.SharedIndexInformer
	Runner  Runner
	// Settings returns the current settings.
	Settings func() Settings
	Clock    clock.WithTicker
	// Random returns numbers from 0 to less than 1; nil takes a random source of the process.
	Random func() float64
}

// Validate tells what is missing.
func (o Options) Validate() error {
	if o.Streams == nil || o.Runner == nil || o.Settings == nil || o.Clock == nil {
		return errors.New("scheduled import: streams, runner, settings and clock must be set")
	}
	return nil
}

// Controller imports scheduled tags again and again.
type Controller struct {
	Options
	turns *importer.Turns

	mu sync.Mutex
	// schedule is nil while this process does not lead.
	schedule *schedule
	wake     chan struct{}
}

var _ controllers.Controller = (*Controller)(nil)

// New makes the controller. Nothing runs yet.
func New(options Options) (*Controller, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	if options.Random == nil {
		options.Random = rand.Float64
	}
	workers := func() int { return options.Settings().Workers }
	return &Controller{Options: options, turns: importer.NewTurns(workers), wake: make(chan struct{}, 1)}, nil
}

// Name implements controllers.Controller.
func (*Controller) Name() string { return controllers.ScheduledImport }

// Run implements controllers.Controller.
func (c *Controller) Run(ctx context.Context) error {
	if !cache.WaitForCacheSync(ctx.Done(), c.Streams.HasSynced) {
		return nil
	}
	defer c.begin()()
	registration, err := c.Streams.AddEventHandler(c.handler())
	if err != nil {
		return fmt.Errorf("watch image streams: %w", err)
	}
	defer func() {
		if err := c.Streams.RemoveEventHandler(registration); err != nil {
			klog.FromContext(ctx).Error(err, "The handler of image streams cannot be removed")
		}
	}()
	c.loop(ctx)
	return nil
}

// begin makes an empty schedule and returns what gives it up.
func (c *Controller) begin() (end func()) {
	set := func(s *schedule) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.schedule = s
	}
	set(newSchedule(c.Settings().Interval, c.Random))
	return func() { set(nil) }
}

// Postpone begins a new interval for a stream whose tags are being imported for another reason, if all of its
// scheduled tags are among them.
func (c *Controller) Postpone(stream *imageapi.ImageStream, tags []string) {
	for _, tag := range Tags(stream) {
		if !slices.Contains(tags, tag) {
			return
		}
	}
	c.change(func(s *schedule) { s.postpone(cache.MetaObjectToName(stream), c.Clock.Now()) })
}

func (c *Controller) handler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    c.look,
		UpdateFunc: func(_, after any) { c.look(after) },
		DeleteFunc: func(obj any) {
			if key, err := cache.DeletionHandlingObjectToName(obj); err == nil {
				c.change(func(s *schedule) { s.remove(key) })
			}
		},
	}
}

// look puts a stream into the schedule or takes it out.
func (c *Controller) look(obj any) {
	stream, ok := obj.(*imageapi.ImageStream)
	if !ok {
		return
	}
	key, tags := cache.MetaObjectToName(stream), Tags(stream)
	c.change(func(s *schedule) {
		if len(tags) == 0 {
			s.remove(key)
			return
		}
		s.put(key, stream.UID, LastRun(stream, tags), c.Clock.Now())
	})
}

// change changes the schedule, if this process leads, and lets the loop look at it.
func (c *Controller) change(fn func(*schedule)) {
	c.mu.Lock()
	if c.schedule != nil {
		fn(c.schedule)
	}
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// loop starts imports when their time has come, until the context ends and the last one has ended.
func (c *Controller) loop(ctx context.Context) {
	slots := importer.NewSlots(func() int { return c.Settings().Workers })
	limiter := rate.NewLimiter(perSecond(c.Settings()), 2*c.Settings().PerMinute)
	var working sync.WaitGroup
	defer working.Wait()
	for slots.Take(ctx) {
		due := c.wait(ctx, limiter)
		if due == nil {
			slots.Free()
			return
		}
		working.Go(func() {
			defer slots.Free()
			c.run(ctx, *due)
		})
	}
}

// wait returns the next stream when its turn has come and the bound allows another import, or nil when the
// context has ended.
func (c *Controller) wait(ctx context.Context, limiter *rate.Limiter) *importer.Request {
	for {
		due, pause := c.next(limiter)
		if due != nil {
			return due
		}
		timer := c.Clock.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-c.wake:
		case <-timer.C():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// next takes the stream whose turn it is out of the schedule for one import, or tells how long there will be
// none.
func (c *Controller) next(limiter *rate.Limiter) (*importer.Request, time.Duration) {
	settings, now := c.Settings(), c.Clock.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	limit(limiter, settings, now)
	c.schedule.setInterval(settings.Interval, now)
	first := c.schedule.first()
	if first == nil || settings.Disabled {
		return nil, longestSleep
	}
	if pause := first.next.Sub(now); pause > 0 {
		return nil, min(pause, longestSleep)
	}
	if first.running {
		// It takes longer than the interval; another import beside it would not be faster.
		c.schedule.postpone(first.key, now)
		return nil, time.Nanosecond
	}
	if !c.turns.Begin(first.key) {
		// It is called when another stream of its namespace has ended.
		c.schedule.postpone(first.key, now)
		return nil, time.Nanosecond
	}
	if pause := reserve(limiter, now); pause > 0 {
		c.turns.Cancel(first.key.Namespace)
		return nil, min(pause, longestSleep)
	}
	c.schedule.postpone(first.key, now)
	first.running = true
	return &importer.Request{
		Namespace: first.key.Namespace, Name: first.key.Name, UID: first.uid, Scheduled: true,
		Choose: func(stream *imageapi.ImageStream) importer.Work { return importer.Work{Tags: Tags(stream)} },
	}, 0
}

// limit sets the bound of imports per minute.
func limit(limiter *rate.Limiter, settings Settings, now time.Time) {
	if burst := 2 * settings.PerMinute; limiter.Burst() != burst {
		limiter.SetLimitAt(now, perSecond(settings))
		limiter.SetBurstAt(now, burst)
	}
}

func perSecond(settings Settings) rate.Limit { return rate.Limit(float64(settings.PerMinute) / 60) }

// reserve takes a token, or tells how long there will be none.
func reserve(limiter *rate.Limiter, now time.Time) time.Duration {
	reservation := limiter.ReserveN(now, 1)
	if !reservation.OK() {
		return longestSleep
	}
	pause := reservation.DelayFrom(now)
	if pause > 0 {
		reservation.CancelAt(now)
	}
	return pause
}

// run imports one stream. What fails has its next turn in an interval; failures that pass are tried again
// earlier by the controller of imports, which finds them in the conditions.
func (c *Controller) run(ctx context.Context, req importer.Request) {
	if _, err := c.Runner.Run(ctx, req); err != nil && ctx.Err() == nil {
		klog.FromContext(ctx).Error(err, "Scheduled import failed", "namespace", req.Namespace, "stream", req.Name)
	}
	waiting, any := c.turns.End(req.Namespace)
	c.change(func(s *schedule) {
		known, found := s.entries[cache.NewObjectName(req.Namespace, req.Name)]
		if found && known.uid == req.UID {
			known.running = false
		}
		if any {
			s.hasten(waiting, c.Clock.Now())
		}
	})
}
