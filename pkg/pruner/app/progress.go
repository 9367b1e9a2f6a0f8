package app

import (
	"context"
	"sync"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// progressInterval is how long at least a line of progress stands alone.
const progressInterval = 10 * time.Second

// progress tells people who watch a long run how far it is: at most one line in ten seconds, none in a
// short run. It may be told of every single object.
type progress struct {
	clock clock.PassiveClock

	mu    sync.Mutex
	last  time.Time
	phase string
	since time.Time
}

func newProgress(clock clock.PassiveClock) *progress {
	return &progress{clock: clock, last: clock.Now()}
}

// reached notes that done of total objects of a phase are done; total 0 means that nobody knows how many
// there are.
func (p *progress) reached(ctx context.Context, phase string, done, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	if phase != p.phase {
		p.phase, p.since = phase, now
	}
	if now.Sub(p.last) < progressInterval {
		return
	}
	p.last = now
	details := []any{"phase", phase, "done", done}
	if total > 0 {
		details = append(details, "total", total)
	}
	if took := now.Sub(p.since).Seconds(); took >= 1 {
		details = append(details, "perSecond", int(float64(done)/took))
	}
	klog.FromContext(ctx).Info("Progress", details...)
}
