package collect

import (
	"context"
	"errors"
	"fmt"
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

// errAgain: the collection is to be asked for once more.
var errAgain = errors.New("it did not come to its end twice")

// collect runs one collection to its end; one that was cut off is repeated once.
func (c *Collector) collect(ctx context.Context, dryRun bool) (registry.Collection, error) {
	report, err := c.once(ctx, dryRun)
	if errors.Is(err, errAgain) {
		report, err = c.once(ctx, dryRun)
	}
	return report, err
}

func (c *Collector) once(ctx context.Context, dryRun bool) (registry.Collection, error) {
	id, err := c.start(ctx, dryRun)
	if err != nil {
		return registry.Collection{}, err
	}
	report, err := c.follow(ctx, id)
	switch {
	case errors.Is(err, registry.ErrGone):
		return report, fmt.Errorf("collection %s: %w: %w", id, err, errAgain)
	case err != nil:
		return report, err
	case report.DryRun != dryRun:
		return report, fmt.Errorf("collection %s: the registry reports about another kind of collection than was asked for", id)
	case report.State == registry.StateSucceeded:
		return report, nil
	case strings.HasPrefix(report.Message, interrupted):
		return report, fmt.Errorf("%w: %w", &FailedError{ID: id, Message: report.Message}, errAgain)
	case report.Phase == registry.PhaseMetadata:
		return report, refused("the registry says: %s", report.Message)
	}
	return report, &FailedError{ID: id, Message: report.Message}
}

// start asks for a collection, and for as long as others run, again when they have ended.
func (c *Collector) start(ctx context.Context, dryRun bool) (string, error) {
	task := registry.Task{DryRun: dryRun, AllowEmptyMetadata: c.AllowEmptyMetadata}
	if c.MinAge > 0 {
		task.MinAge = c.MinAge.String()
	}
	until := c.Clock.Now().Add(c.Wait)
	for {
		report, err := c.Registry.StartCollection(ctx, task)
		var running *registry.RunningError
		if !errors.As(err, &running) {
			return report.ID, err
		}
		if !c.Clock.Now().Before(until) {
			return "", fmt.Errorf("%w since --wait=%s; try again when it has ended", err, c.Wait)
		}
		if _, err := c.follow(ctx, running.ID); err != nil && !errors.Is(err, registry.ErrGone) {
			return "", err
		}
		// Its end may be known a moment before the next one is possible.
		if err := c.sleep(ctx, firstPoll); err != nil {
			return "", err
		}
	}
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
