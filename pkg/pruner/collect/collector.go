package collect

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"image.alauda.io/registry/pkg/pruner/registry"
)

const (
	// firstPoll is the wait between two looks at a collection, which grows to maxPoll: most storages are
	// small, and the others take long.
	firstPoll = 250 * time.Millisecond
	maxPoll   = 15 * time.Second
	// patience is how long the registry may be away while a collection is followed. A replica that ended
	// holds the collection for another minute.
	patience = 3 * time.Minute
	// interrupted begins the message of a collection whose replica ended.
	interrupted = "interrupted"
)

// Registry is what the collector needs of the registry.
type Registry interface {
	StartCollection(ctx context.Context, task registry.Task) (registry.Collection, error)
	Collection(ctx context.Context, id string) (registry.Collection, error)
}

// Settings of a collection.
type Settings struct {
	// Confirm collects; without it only a dry run is made.
	Confirm bool
	// MinAge is the age below which nothing goes; zero leaves it to the registry.
	MinAge             time.Duration
	MaxDeletePercent   int
	AllowEmptyMetadata bool
	// Wait bounds how long one collection is followed.
	Wait time.Duration
}

// Collector runs one collection.
type Collector struct {
	Settings
	Registry Registry
	Clock    clock.Clock
	// Progress, if given, is told at every look at a collection.
	Progress func(registry.Collection)
	// Planned, if given, gets the result of the dry run before anything else is done.
	Planned func(registry.Collection) error
}

// FailedError is a collection that the registry could not finish.
type FailedError struct{ ID, Message string }

// Error implements error.
func (e *FailedError) Error() string {
	return fmt.Sprintf("collection %s failed: %s", e.ID, e.Message)
}

// Run makes the dry run and, with Confirm, the collection. The report of a collection that left errors is
// returned beside the error.
func (c *Collector) Run(ctx context.Context) (registry.Collection, error) {
	found, err := c.collect(ctx, true)
	if err != nil {
		return found, fmt.Errorf("dry run: %w", err)
	}
	if c.Planned != nil {
		if err := c.Planned(found); err != nil {
			return found, err
		}
	}
	if !c.Confirm {
		return found, nil
	}
	if err := GuardShare(found, c.MaxDeletePercent); err != nil {
		return found, err
	}
	done, err := c.collect(ctx, false)
	if err != nil {
		return done, err
	}
	if count := len(done.Errors); count > 0 {
		return done, fmt.Errorf("collection %s: %d deletions failed, the first: %s", done.ID, count, done.Errors[0])
	}
	return done, nil
}

// errInterrupted: the collection is to be asked for once more.
var errInterrupted = errors.New("it was interrupted")

// turn is what is known while one collection is wanted.
type turn struct {
	dryRun bool
	// until is when asking for a collection ends.
	until time.Time
	// minAge is what the registry said about our collection; empty before it did.
	minAge string
	// replaced: our collection ended, and its report is lost.
	replaced bool
}

// collect runs one collection to its end. One that was interrupted is repeated once. One whose report was
// replaced by that of another client is repeated for as long as that happens, and gives way each time for
// longer, or else two clients could replace each other's reports for ever.
func (c *Collector) collect(ctx context.Context, dryRun bool) (registry.Collection, error) {
	t := &turn{dryRun: dryRun, until: c.Clock.Now().Add(c.Wait)}
	yield, interruptions := firstPoll, 0
	for {
		report, err := c.once(ctx, t)
		switch {
		case errors.Is(err, errInterrupted) && interruptions == 0:
			interruptions++
		case errors.Is(err, registry.ErrGone) && c.Clock.Now().Before(t.until):
			t.replaced = true
			if err := c.sleep(ctx, yield+rand.N(yield)); err != nil {
				return report, err
			}
			yield = min(2*yield, maxPoll)
		case errors.Is(err, registry.ErrGone):
			return report, fmt.Errorf("%w, and so it went since --wait=%s; try again when no other client collects", err, c.Wait)
		default:
			return report, err
		}
	}
}

func (c *Collector) once(ctx context.Context, t *turn) (registry.Collection, error) {
	report, err := c.start(ctx, t)
	if err != nil {
		return registry.Collection{}, err
	}
	id := report.ID
	if report.State == registry.StateRunning {
		report, err = c.follow(ctx, id)
	}
	switch {
	case errors.Is(err, registry.ErrGone):
		return report, fmt.Errorf("collection %s: %w", id, err)
	case err != nil:
		return report, err
	case report.DryRun != t.dryRun:
		return report, fmt.Errorf("collection %s: the registry reports about another kind of collection than was asked for", id)
	case report.State == registry.StateSucceeded:
		return report, nil
	case strings.HasPrefix(report.Message, interrupted):
		return report, fmt.Errorf("%w: %w", &FailedError{ID: id, Message: report.Message}, errInterrupted)
	case report.Phase == registry.PhaseMetadata:
		return report, refused("the registry says: %s", report.Message)
	}
	return report, &FailedError{ID: id, Message: report.Message}
}

// start asks for a collection, and for as long as others run, again when they have ended. It returns the
// report of one that has just begun, or that of another which has done the same.
func (c *Collector) start(ctx context.Context, t *turn) (registry.Collection, error) {
	task := registry.Task{DryRun: t.dryRun, AllowEmptyMetadata: c.AllowEmptyMetadata}
	if c.MinAge > 0 {
		task.MinAge = c.MinAge.String()
	}
	for {
		report, err := c.Registry.StartCollection(ctx, task)
		var running *registry.RunningError
		if !errors.As(err, &running) {
			t.minAge = report.MinAge
			return report, err
		}
		if !c.Clock.Now().Before(t.until) {
			return report, fmt.Errorf("%w since --wait=%s; try again when it has ended", err, c.Wait)
		}
		other, err := c.follow(ctx, running.ID)
		if err != nil && !errors.Is(err, registry.ErrGone) {
			return report, err
		}
		if err == nil && t.isDoneBy(other) {
			return other, nil
		}
		// Its end may be known a moment before the next one is possible.
		if err := c.sleep(ctx, firstPoll); err != nil {
			return report, err
		}
	}
}

// isDoneBy: only one collection runs at a time, so another that is met after ours was replaced began when
// ours had ended. What is collected before ours ever began has not seen what this run deleted.
func (t *turn) isDoneBy(other registry.Collection) bool {
	return t.replaced && other.State == registry.StateSucceeded && other.DryRun == t.dryRun && t.minAge != "" && other.MinAge == t.minAge
}

// follow looks at a collection until it has ended.
func (c *Collector) follow(ctx context.Context, id string) (registry.Collection, error) {
	began := c.Clock.Now()
	heard, pause := began, firstPoll
	for {
		report, err := c.Registry.Collection(ctx, id)
		now := c.Clock.Now()
		var stopped *registry.StoppedError
		switch {
		case errors.Is(err, registry.ErrGone), errors.As(err, &stopped), ctx.Err() != nil:
			return report, err
		case err == nil && report.ID != id:
			return report, fmt.Errorf("collection %s: the registry reports about collection %s", id, report.ID)
		case err == nil:
			heard = now
			if c.Progress != nil {
				c.Progress(report)
			}
			if report.State != registry.StateRunning {
				return report, nil
			}
		case isRefusal(err), now.Sub(heard) > patience:
			return report, fmt.Errorf("collection %s: %w", id, err)
		}
		if now.Sub(began) >= c.Wait {
			return report, fmt.Errorf("collection %s did not end within --wait=%s; the registry goes on with it", id, c.Wait)
		}
		if err := c.sleep(ctx, pause); err != nil {
			return report, err
		}
		pause = min(pause*3/2, maxPoll)
	}
}

// isRefusal tells answers that time does not change.
func isRefusal(err error) bool {
	var answer *registry.AnswerError
	return errors.As(err, &answer) && answer.Status < 500 && answer.Status != 429
}

func (c *Collector) sleep(ctx context.Context, pause time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.Clock.After(pause):
		return nil
	}
}
