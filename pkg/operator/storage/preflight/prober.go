package preflight

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// Verdict is what is known about a request.
type Verdict struct {
	// Known is false until the first check has ended.
	Known bool
	Result
}

// Options of a Prober. Check is required, everything else has a default.
type Options struct {
	// Check runs one check.
	Check func(ctx context.Context, request Request, listOnly bool, deadline time.Duration) (Result, error)
	// OnChange is called after a verdict has changed.
	OnChange func()
	// Deadline bounds a check.
	Deadline time.Duration
	// Full is the time between complete checks, List between looks at the root.
	Full, List time.Duration
	// AgainPermanent and AgainTransient are the times after which a failed check is repeated.
	AgainPermanent, AgainTransient time.Duration
	Clock                          clock.Clock
}

// DefaultOptions are the times of the specification.
func DefaultOptions() Options {
	return Options{
		Deadline: time.Minute, Full: 24 * time.Hour, List: 5 * time.Minute,
		AgainPermanent: 45 * time.Second, AgainTransient: 15 * time.Second,
		Clock: clock.RealClock{}, OnChange: func() {},
	}
}

// Validate names what is missing.
func (o Options) Validate() error {
	switch {
	case o.Check == nil || o.OnChange == nil || o.Clock == nil:
		return errors.New("preflight: Check, OnChange and Clock are required")
	case o.Deadline <= 0 || o.Full <= 0 || o.List <= 0 || o.AgainPermanent <= 0 || o.AgainTransient <= 0:
		return errors.New("preflight: every time must be positive")
	}
	return nil
}

// Prober keeps the verdict about one request, the latest that it was asked for.
type Prober struct {
	options Options
	// wake tells the loop that the request is another one.
	wake chan struct{}

	mu      sync.Mutex
	current *subject
}

// subject is a request with what is known about it. The loop alone writes to it, under the lock.
type subject struct {
	request Request
	verdict Verdict
	// cancel ends a check that is under way.
	cancel context.CancelFunc
	// full and list are when the last check of either kind ended; a complete one is both.
	full, list time.Time
	// fullOK says that the last complete check succeeded.
	fullOK bool
}

// New makes a Prober. It does nothing until Run.
func New(options Options) (*Prober, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	return &Prober{options: options, wake: make(chan struct{}, 1)}, nil
}

// Look returns what is known about the request and has it checked from now on, instead of any other.
func (p *Prober) Look(request Request) Verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != nil && p.current.request.Key == request.Key {
		return p.current.verdict
	}
	p.replace(&subject{request: request})
	return Verdict{}
}

// Forget ends all checks.
func (p *Prober) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != nil {
		p.replace(nil)
	}
}

func (p *Prober) replace(next *subject) {
	if p.current != nil && p.current.cancel != nil {
		p.current.cancel()
	}
	p.current = next
	select {
	case p.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Run checks until ctx ends.
func (p *Prober) Run(ctx context.Context) {
	for ctx.Err() == nil {
		subject, listOnly, due := p.next()
		var timer <-chan time.Time
		if subject != nil {
			wait := due.Sub(p.options.Clock.Now())
			if wait <= 0 {
				p.check(ctx, subject, listOnly)
				continue
			}
			timer = p.options.Clock.After(wait)
		}
		select {
		case <-ctx.Done():
		case <-p.wake:
		case <-timer:
		}
	}
}

// next says which check is due when.
func (p *Prober) next() (*subject, bool, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.current
	if s == nil {
		return nil, false, time.Time{}
	}
	listOnly, due := p.options.schedule(*s)
	return s, listOnly, due
}

// schedule is pure.
func (o Options) schedule(s subject) (listOnly bool, due time.Time) {
	again := o.AgainPermanent
	if s.verdict.Transient() {
		again = o.AgainTransient
	}
	switch {
	case !s.verdict.Known:
		return false, time.Time{}
	case !s.fullOK:
		return false, s.full.Add(again)
	case !s.verdict.OK:
		return true, s.list.Add(again)
	}
	full, list := s.full.Add(o.Full), s.list.Add(o.List)
	if !list.Before(full) {
		return false, full
	}
	return true, list
}

// check runs one check and keeps its result, unless the request was replaced meanwhile.
func (p *Prober) check(ctx context.Context, s *subject, listOnly bool) {
	checkCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	p.mu.Lock()
	if p.current != s {
		p.mu.Unlock()
		return
	}
	s.cancel = cancel
	p.mu.Unlock()
	result, err := p.options.Check(checkCtx, s.request, listOnly, p.options.Deadline)
	if checkCtx.Err() != nil {
		return // another request, or the end
	}
	if err != nil {
		result = Result{Step: StepOpen, Text: s.request.clean(Result{Text: err.Error()}).Text}
	}
	if p.keep(s, result, listOnly) {
		klog.FromContext(ctx).Info("The storage was tested", "ok", result.OK, "step", result.Step, "reason", result.Reason, "text", result.Text)
		p.options.OnChange()
	}
}

// keep takes over a result and says whether it is news.
func (p *Prober) keep(s *subject, result Result, listOnly bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.options.Clock.Now()
	s.cancel, s.list = nil, now
	if !listOnly {
		s.full, s.fullOK = now, result.OK
	}
	before := s.verdict
	s.verdict = Verdict{Known: true, Result: result}
	return s.verdict != before && p.current == s
}
