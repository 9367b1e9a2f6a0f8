package collect

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"image.alauda.io/registry/pkg/pruner/registry"
)

// instantClock never makes a test wait.
type instantClock struct{ *clocktesting.FakeClock }

// After implements clock.Clock.
func (c instantClock) After(wait time.Duration) <-chan time.Time {
	c.Step(wait)
	ready := make(chan time.Time, 1)
	ready <- c.Now()
	return ready
}

// script is a registry that answers one call after the other; every call must be the expected one.
type script struct {
	t     *testing.T
	steps []step
	next  int
}

type step struct {
	// call is "start dry", "start real" or "get <id>".
	call   string
	report registry.Collection
	err    error
}

func (s *script) step(call string) (registry.Collection, error) {
	s.t.Helper()
	if s.next >= len(s.steps) || s.steps[s.next].call != call {
		s.t.Errorf("call %d is %q", s.next, call)
		return registry.Collection{}, errors.New("unexpected call")
	}
	s.next++
	return s.steps[s.next-1].report, s.steps[s.next-1].err
}

// StartCollection implements Registry.
func (s *script) StartCollection(_ context.Context, task registry.Task) (registry.Collection, error) {
	if task.MinAge != "2h0m0s" {
		s.t.Errorf("minimum age %q", task.MinAge)
	}
	if task.DryRun {
		return s.step("start dry")
	}
	return s.step("start real")
}

// Collection implements Registry.
func (s *script) Collection(_ context.Context, id string) (registry.Collection, error) {
	return s.step("get " + id)
}

func collection(id string, dry bool, state string, change ...func(*registry.Collection)) registry.Collection {
	c := registry.Collection{ID: id, DryRun: dry, State: state, Phase: "delete", TotalBlobs: 100, TotalRepositories: 100, CandidateCount: 3}
	for _, f := range change {
		f(&c)
	}
	return c
}

func failed(phase, message string) func(*registry.Collection) {
	return func(c *registry.Collection) { c.State, c.Phase, c.Message = registry.StateFailed, phase, message }
}

func age(minAge string) func(*registry.Collection) {
	return func(c *registry.Collection) { c.MinAge = minAge }
}

const (
	running = registry.StateRunning
	succ    = registry.StateSucceeded
)

// Behaviours 51, 54 and 55.
func TestCollector(t *testing.T) {
	dry := []step{
		{call: "start dry", report: collection("1", true, running)},
		{call: "get 1", report: collection("1", true, succ)},
	}
	wrong := &registry.AnswerError{Status: 500}
	many := func(c *registry.Collection) { c.CandidateCount = 51 }
	manyRepositories := func(c *registry.Collection) { c.Repositories = 51 }
	tests := []struct {
		name  string
		dry   bool
		steps []step
		// want is a part of the error.
		want string
		kind any
	}{
		{"dry run", true, dry, "", nil},
		{"real run", false, append(dry[:2:2], step{call: "start real", report: collection("2", false, running)},
			step{call: "get 2", report: collection("2", false, running)}, step{call: "get 2", report: collection("2", false, succ)}), "", nil},
		{"another runs", true, append([]step{
			{call: "start dry", err: &registry.RunningError{ID: "9"}}, {call: "get 9", report: collection("9", false, running)},
			{call: "get 9", report: collection("9", false, registry.StateFailed)},
		}, dry...), "", nil},
		{"another ran and is forgotten", true, append([]step{
			{call: "start dry", err: &registry.RunningError{ID: "9"}}, {call: "get 9", err: registry.ErrGone},
		}, dry...), "", nil},
		{"interrupted once", true, append([]step{
			{call: "start dry", report: collection("8", true, running)}, {call: "get 8", report: collection("8", true, "", failed("blobs", "interrupted: the registry was told to end"))},
		}, dry...), "", nil},
		{"interrupted twice", true, []step{
			{call: "start dry", report: collection("8", true, running)}, {call: "get 8", report: collection("8", true, "", failed("blobs", "interrupted"))},
			{call: "start dry", report: collection("9", true, running)}, {call: "get 9", report: collection("9", true, "", failed("blobs", "interrupted"))},
		}, "interrupted", new(*FailedError)},
		{"replaced once", true, append([]step{
			{call: "start dry", report: collection("8", true, running)}, {call: "get 8", err: registry.ErrGone},
		}, dry...), "", nil},
		{"replaced again and again", true, append([]step{
			{call: "start dry", report: collection("5", true, running)}, {call: "get 5", err: registry.ErrGone},
			{call: "start dry", report: collection("6", true, running)}, {call: "get 6", err: registry.ErrGone},
			{call: "start dry", report: collection("7", true, running)}, {call: "get 7", err: registry.ErrGone},
		}, dry...), "", nil},
		{"replaced by one that does the same", false, append(dry[:2:2],
			step{call: "start real", report: collection("7", false, running, age("2h0m0s"))}, step{call: "get 7", err: registry.ErrGone},
			step{call: "start real", err: &registry.RunningError{ID: "9"}}, step{call: "get 9", report: collection("9", false, succ, age("2h0m0s"))},
		), "", nil},
		{"replaced by one that left errors", false, append(dry[:2:2],
			step{call: "start real", report: collection("7", false, running, age("2h0m0s"))}, step{call: "get 7", err: registry.ErrGone},
			step{call: "start real", err: &registry.RunningError{ID: "9"}},
			step{call: "get 9", report: collection("9", false, succ, age("2h0m0s"), func(c *registry.Collection) { c.Errors = []string{"disk"} })},
		), "1 deletions failed, the first: disk", nil},
		{"replaced by some that do less", false, append(dry[:2:2],
			step{call: "start real", report: collection("4", false, running, age("2h0m0s"))}, step{call: "get 4", err: registry.ErrGone},
			step{call: "start real", err: &registry.RunningError{ID: "5"}}, step{call: "get 5", report: collection("5", false, succ, age("9h0m0s"))},
			step{call: "start real", err: &registry.RunningError{ID: "6"}}, step{call: "get 6", report: collection("6", true, succ, age("2h0m0s"))},
			step{call: "start real", err: &registry.RunningError{ID: "7"}}, step{call: "get 7", report: collection("7", false, "", age("2h0m0s"), failed("blobs", "no space"))},
			step{call: "start real", report: collection("8", false, running, age("2h0m0s"))}, step{call: "get 8", report: collection("8", false, succ, age("2h0m0s"))},
		), "", nil},
		{"one that ran before does not count", true, append([]step{
			{call: "start dry", err: &registry.RunningError{ID: "9"}}, {call: "get 9", report: collection("9", true, succ, age("2h0m0s"))},
		}, dry...), "", nil},
		{"the registry refuses", true, []step{
			{call: "start dry", report: collection("8", true, running)}, {call: "get 8", report: collection("8", true, "", failed("metadata", "the Image list is empty"))},
		}, "the Image list is empty", new(*RefusedError)},
		{"the registry fails", true, []step{
			{call: "start dry", report: collection("8", true, running)}, {call: "get 8", report: collection("8", true, "", failed("blobs", "no space"))},
		}, "no space", new(*FailedError)},
		{"too many blobs", false, []step{
			{call: "start dry", report: collection("1", true, running)}, {call: "get 1", report: collection("1", true, succ, many)},
		}, "51 of 100 blobs", new(*RefusedError)},
		{"too many blobs in a dry run", true, []step{
			{call: "start dry", report: collection("1", true, running)}, {call: "get 1", report: collection("1", true, succ, many)},
		}, "", nil},
		{"too many repositories", false, []step{
			{call: "start dry", report: collection("1", true, running)}, {call: "get 1", report: collection("1", true, succ, manyRepositories)},
		}, "51 of 100 repositories", new(*RefusedError)},
		{"read-only", false, append(dry[:2:2], step{call: "start real", err: registry.ErrReadOnly}), "read-only", nil},
		{"too old", true, []step{{call: "start dry", err: registry.ErrNoCollections}}, "/admin/gc", nil},
		{"deletions failed", false, append(dry[:2:2], step{call: "start real", report: collection("2", false, running)},
			step{call: "get 2", report: collection("2", false, succ, func(c *registry.Collection) { c.Errors = []string{"disk"} })}), "1 deletions failed, the first: disk", nil},
		{"the registry is away for a while", true, []step{
			{call: "start dry", report: collection("1", true, running)}, {call: "get 1", err: wrong}, {call: "get 1", err: errors.New("connection refused")},
			{call: "get 1", report: collection("1", true, succ)},
		}, "", nil},
		{"refused while it is followed", true, []step{
			{call: "start dry", report: collection("1", true, running)}, {call: "get 1", err: &registry.AnswerError{Status: 403}},
		}, "403", nil},
		{"nothing is sent any more", true, []step{
			{call: "start dry", report: collection("1", true, running)}, {call: "get 1", err: &registry.StoppedError{Reason: errors.New("broken")}},
		}, "broken", nil},
		{"another report", true, []step{
			{call: "start dry", report: collection("1", true, running)}, {call: "get 1", report: collection("2", true, succ)},
		}, "reports about collection 2", nil},
		{"a real run instead of a dry one", true, []step{
			{call: "start dry", report: collection("1", true, running)}, {call: "get 1", report: collection("1", false, succ)},
		}, "another kind", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := &script{t: t, steps: test.steps}
			planned := 0
			c := Collector{
				Settings: Settings{Confirm: !test.dry, MinAge: 2 * time.Hour, MaxDeletePercent: 50, Wait: time.Hour}, Registry: s,
				Clock:   instantClock{clocktesting.NewFakeClock(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))},
				Planned: func(registry.Collection) error { planned++; return nil },
			}
			_, err := c.Run(t.Context())
			if (err != nil) != (test.want != "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if test.kind != nil && !errors.As(err, test.kind) {
				t.Errorf("error %v is no %T", err, test.kind)
			}
			if s.next != len(test.steps) {
				t.Errorf("%d of %d calls were made", s.next, len(test.steps))
			}
			if planned > 1 || planned == 0 && test.want == "" {
				t.Errorf("the result of the dry run was told %d times", planned)
			}
		})
	}
}

// endless is a registry in which something runs for ever.
type endless struct {
	err   error
	calls int
}

// StartCollection implements Registry.
func (e *endless) StartCollection(context.Context, registry.Task) (registry.Collection, error) {
	return collection("1", true, running), e.err
}

// Collection implements Registry.
func (e *endless) Collection(_ context.Context, id string) (registry.Collection, error) {
	e.calls++
	return collection(id, true, running), nil
}

// --wait bounds how long a collection is followed, own or another's, and the looks become rarer.
func TestWait(t *testing.T) {
	for name, start := range map[string]error{"own": nil, "another's": &registry.RunningError{ID: "9"}} {
		e := &endless{err: start}
		c := Collector{Settings: Settings{Wait: 10 * time.Minute}, Registry: e, Clock: instantClock{clocktesting.NewFakeClock(time.Unix(0, 0))}}
		if _, err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "--wait=10m0s") || e.calls > 70 || e.calls < 40 {
			t.Errorf("%s: error %v after %d looks", name, err, e.calls)
		}
	}
	// Collections of others that come one after the other do not keep a run for ever.
	e := &endless{err: &registry.RunningError{ID: "9"}}
	c := Collector{Settings: Settings{Wait: time.Nanosecond}, Registry: e, Clock: instantClock{clocktesting.NewFakeClock(time.Unix(0, 0))}}
	if _, err := c.Run(t.Context()); err == nil {
		t.Error("no end")
	}
}

func TestInterruptionEndsTheWait(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("terminated"))
	c := Collector{Settings: Settings{Wait: time.Hour}, Registry: &endless{}, Clock: clocktesting.NewFakeClock(time.Unix(0, 0))}
	if _, err := c.Run(ctx); err == nil {
		t.Error("no error")
	}
}

// Behaviour 54.
func TestGuards(t *testing.T) {
	for name, test := range map[string]struct {
		cluster Cluster
		empty   bool
		want    string
	}{
		"fine":          {Cluster{Images: 1}, false, ""},
		"blocked":       {Cluster{Images: 1, Blocked: true}, true, "imageregistry.operator.alauda.io/block-gc"},
		"incomplete":    {Cluster{Images: 2, Incomplete: "sha256:x"}, true, "Image sha256:x is incomplete"},
		"empty":         {Cluster{}, false, "--allow-empty-metadata"},
		"empty allowed": {Cluster{}, true, ""},
	} {
		err := Guard(test.cluster, test.empty)
		if (err != nil) != (test.want != "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	for _, test := range []struct {
		part, whole int64
		percent     int
		want        bool
	}{{20, 20, 1, false}, {21, 21, 50, true}, {21, 42, 50, false}, {22, 43, 50, true}, {1 << 60, 1<<60 + 1, 99, true}, {21, 21, 100, false}} {
		if got := tooMany(test.part, test.whole, test.percent); got != test.want {
			t.Errorf("%s: %t", fmt.Sprint(test), got)
		}
	}
}
