// Package purge removes uploads that nobody goes on with.
//
// In comes a storage; what goes out of it are the sessions to which nobody has written
// for longer than Age: pushes that were given up, and copies of other registries that
// ended with their process. Each replica takes its turn once per interval, at a time
// made different by a random delay, and skips it when another one has purged within the
// last half of an interval, as a note in the storage says.
//
// A dry run logs and removes nothing. Nothing is purged in read-only mode: then no
// Purger is made. Blobs, manifests and links are never touched.
package purge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"image.alauda.io/registry/pkg/registry/store"

	"go.uber.org/zap"
	"k8s.io/utils/clock"
)

// maxDelay is the longest pause before the first turn.
const maxDelay = time.Hour

// Storage is what is purged.
type Storage interface {
	Sessions(ctx context.Context, visit func(store.Session) error) error
	Session(ctx context.Context, path string) (store.Session, error)
	RemoveSession(ctx context.Context, session store.Session) error
	LastPurge(ctx context.Context) (time.Time, error)
	NotePurge(ctx context.Context) error
}

// Options of a Purger.
type Options struct {
	// Age is how long a session must have been silent, Interval the time between two
	// turns.
	Age, Interval time.Duration
	DryRun        bool
	Storage       Storage
	Clock         clock.Clock
	// Random returns a number from 0 up to and without 1, for the delay of the start.
	Random func() float64
	Log    *zap.Logger
}

// Validate tells what is missing.
func (o Options) Validate() error {
	if o.Age <= 0 || o.Interval <= 0 {
		return errors.New("upload purging: age and interval must be positive")
	}
	if o.Storage == nil || o.Clock == nil || o.Random == nil || o.Log == nil {
		return errors.New("upload purging: a storage, a clock, a source of randomness and a log are needed")
	}
	return nil
}

// Purger purges one storage.
type Purger struct{ options Options }

// New returns a Purger. Nothing is started.
func New(options Options) (*Purger, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	return &Purger{options: options}, nil
}

// Run purges until ctx ends. What fails is logged, and tried again the next time.
func (p *Purger) Run(ctx context.Context) {
	delay := time.Duration(p.options.Random() * float64(min(maxDelay, p.options.Interval)))
	for {
		timer := p.options.Clock.NewTimer(delay)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C():
		}
		if _, err := p.Turn(ctx); err != nil && ctx.Err() == nil {
			p.options.Log.Warn("purging uploads failed", zap.Error(err))
		}
		delay = p.options.Interval
	}
}

// Result of a turn.
type Result struct {
	// Skipped says that another replica has purged not long ago.
	Skipped bool
	// Found counts all sessions, Removed those that were too old.
	Found, Removed int
}

// Turn purges unless somebody else has.
func (p *Purger) Turn(ctx context.Context) (Result, error) {
	recent, err := p.recently(ctx)
	if err != nil || recent {
		return Result{Skipped: recent}, err
	}
	result, err := p.purge(ctx)
	if err != nil {
		return result, err
	}
	p.options.Log.Info("uploads purged", zap.Int("found", result.Found), zap.Int("removed", result.Removed), zap.Bool("dry_run", p.options.DryRun))
	return result, p.options.Storage.NotePurge(ctx)
}

// recently tells whether the last purge was less than half an interval ago. A note that
// far in the future is the work of a wrong clock, and waiting for it would be in vain.
func (p *Purger) recently(ctx context.Context) (bool, error) {
	last, err := p.options.Storage.LastPurge(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil && p.options.Clock.Since(last).Abs() < p.options.Interval/2, err
}

// purge removes what it can; the error joins what went wrong.
func (p *Purger) purge(ctx context.Context) (Result, error) {
	var result Result
	var failed error
	err := p.options.Storage.Sessions(ctx, func(session store.Session) error {
		result.Found++
		if !p.isOld(session) {
			return nil
		}
		removed, err := p.remove(ctx, session)
		if err != nil && failed == nil {
			failed = fmt.Errorf("upload %s: %w", session.Path, err)
		}
		if removed {
			result.Removed++
		}
		return ctx.Err()
	})
	return result, errors.Join(err, failed)
}

func (p *Purger) isOld(session store.Session) bool {
	return p.options.Clock.Since(session.LastUsed) > p.options.Age
}

// remove looks once more, as the search may have taken hours.
func (p *Purger) remove(ctx context.Context, session store.Session) (bool, error) {
	p.options.Log.Debug("abandoned upload", zap.String("path", session.Path), zap.Time("last_used", session.LastUsed), zap.Bool("dry_run", p.options.DryRun))
	if p.options.DryRun {
		return false, nil
	}
	again, err := p.options.Storage.Session(ctx, session.Path)
	if errors.Is(err, store.ErrNotFound) || err == nil && !p.isOld(again) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	err = p.options.Storage.RemoveSession(ctx, again)
	if errors.Is(err, store.ErrUploadBusy) {
		return false, nil // somebody goes on with it after all
	}
	return err == nil, err
}
