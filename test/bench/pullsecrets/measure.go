package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// figures are the results of one run.
type figures struct {
	options
	fill                        time.Duration
	fillWrites, fillRefused     int
	memory, peak                int64
	restWrites, restartWrites   int
	restartMemory, restartPeak  int64
	busiestHour                 int
	hosts, keys                 time.Duration
	hostWrites, hostBusiest     int
	keyTokens, keyBusiestMinute int
}

type say func(format string, args ...any)

// measure runs the whole course. What was measured before an error is returned with it.
func measure(ctx context.Context, o options, say say) (f *figures, err error) {
	dir, err := os.MkdirTemp("", "pullsecrets-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	log, flags, err := newAudit(dir)
	if err != nil {
		return nil, err
	}
	c, err := startCluster(flags)
	if err != nil {
		return nil, err
	}
	defer c.plane.Stop()
	if err := c.install(ctx); err != nil {
		return nil, err
	}
	say("making %d ServiceAccounts in %d namespaces", o.accounts, o.namespaces)
	if err := c.populate(ctx, o); err != nil {
		return nil, err
	}
	f = &figures{options: o}
	process, err := startOperator(c.kubeconfig, o.environment()...)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, process.stop()) }()
	if err := f.filling(ctx, c, log, process, say); err != nil {
		return f, fmt.Errorf("fill: %w", err)
	}
	if err := f.resting(ctx, c, log, process, say); err != nil {
		return f, fmt.Errorf("rest: %w", err)
	}
	stopped := process.stop()
	if process, err = startOperator(c.kubeconfig, o.environment()...); err != nil || stopped != nil {
		return f, errors.Join(stopped, err)
	}
	if err := f.restarting(ctx, log, process, say); err != nil {
		return f, fmt.Errorf("restart: %w", err)
	}
	if o.hosts {
		if err := f.changingHosts(ctx, c, log, say); err != nil {
			return f, fmt.Errorf("change of hosts: %w", err)
		}
	}
	if o.rotate {
		if err := f.rotating(ctx, c, log, say); err != nil {
			return f, fmt.Errorf("rotation: %w", err)
		}
	}
	return f, nil
}

// filling turns the registry on and waits until every ServiceAccount has its Secret and refers to it.
func (f *figures) filling(ctx context.Context, c *cluster, log *audit, process *operator, say say) error {
	if err := c.configure(ctx, `{"managementState":"Managed","storage":{"emptyDir":{}}}`); err != nil {
		return err
	}
	began := time.Now()
	patience := 5*time.Minute + time.Duration(f.accounts)*200*time.Millisecond
	err := poll(ctx, patience, time.Second, f.until(log, func() bool {
		if time.Since(began)%(time.Minute) < time.Second {
			say("%d of %d Secrets hold a token", log.counts[refreshed], f.accounts)
		}
		return log.counts[refreshed] >= f.accounts && log.counts[references] >= f.accounts
	}))
	f.fill, f.fillWrites, f.fillRefused = time.Since(began), log.total(), log.refused
	if err == nil {
		f.memory, f.peak, err = process.memory()
	}
	say("filled after %s with %d writes", f.fill.Round(time.Second), f.fillWrites)
	return err
}

// until reads the log and asks.
func (f *figures) until(log *audit, done func() bool) func() (bool, error) {
	return func() (bool, error) {
		if err := log.read(); err != nil {
			return false, err
		}
		return done(), nil
	}
}

// resting counts writes while there is nothing to do, and looks at what the Secrets say of the next day.
func (f *figures) resting(ctx context.Context, c *cluster, log *audit, process *operator, say say) error {
	if err := f.watch(ctx, log, f.rest); err != nil {
		return err
	}
	f.restWrites = log.total()
	due, err := c.due(ctx)
	if err != nil {
		return err
	}
	f.busiestHour = (&audit{times: sorted(due)}).busiest(time.Hour)
	f.memory, f.peak, err = f.weigh(ctx, process)
	say("at rest: %d writes, %d (%d) MiB", f.restWrites, f.memory/mebibyte, f.peak/mebibyte)
	return err
}

func sorted(times []time.Time) []time.Time {
	slices.SortFunc(times, time.Time.Compare)
	return times
}

func (f *figures) watch(ctx context.Context, log *audit, during time.Duration) error {
	log.reset()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(during):
		return log.read()
	}
}

func (f *figures) restarting(ctx context.Context, log *audit, process *operator, say say) error {
	if err := f.watch(ctx, log, f.rest); err != nil {
		return err
	}
	f.restartWrites = log.total()
	var err error
	f.restartMemory, f.restartPeak, err = f.weigh(ctx, process)
	say("after the restart: %d writes, %d (%d) MiB", f.restartWrites, f.restartMemory/mebibyte, f.restartPeak/mebibyte)
	return err
}

// weigh reads the memory of the process, and then asks for a profile if one is wanted: it costs a collection.
func (f *figures) weigh(ctx context.Context, process *operator) (memory, peak int64, err error) {
	memory, peak, err = process.memory()
	if err == nil && f.profile != "" {
		err = process.profile(ctx, f.profile)
	}
	return memory, peak, err
}

func (f *figures) changingHosts(ctx context.Context, c *cluster, log *audit, say say) error {
	log.reset()
	began := time.Now()
	if err := c.configure(ctx, `{"imagePullSecret":{"additionalRegistryHosts":["mirror.example.com"]}}`); err != nil {
		return err
	}
	err := poll(ctx, 30*time.Minute, time.Second, f.until(log, func() bool { return log.counts[refreshed] >= f.accounts }))
	f.hosts, f.hostWrites, f.hostBusiest = time.Since(began), log.total(), log.busiest(time.Minute)
	say("the change of hosts took %s and %d writes", f.hosts.Round(time.Second), f.hostWrites)
	return err
}

func (f *figures) rotating(ctx context.Context, c *cluster, log *audit, say say) error {
	log.reset()
	if err := c.plane.ReplaceSigningKey(); err != nil {
		return err
	}
	began := time.Now()
	err := poll(ctx, 40*time.Minute, time.Second, f.until(log, func() bool { return log.counts[refreshed] >= f.accounts }))
	f.keys, f.keyTokens, f.keyBusiestMinute = time.Since(began), log.counts[tokens], log.busiest(time.Minute)
	say("the rotation took %s and %d tokens", f.keys.Round(time.Second), f.keyTokens)
	return err
}

const mebibyte = 1 << 20

// print writes the table for the documentation.
func (f *figures) print(out io.Writer) {
	row := func(what, value, budget string) { fmt.Fprintf(out, "| %s | %s | %s |\n", what, value, budget) }
	fmt.Fprintf(out, "%d ServiceAccounts in %d namespaces:\n\n| Measured | Value | Budget |\n|---|---|---|\n", f.accounts, f.namespaces)
	perSecond := float64(f.fillWrites) / max(f.fill.Seconds(), 1)
	row("first fill", fmt.Sprintf("%s, %d writes, %.0f a second", f.fill.Round(time.Second), f.fillWrites, perSecond), "the client's 50 a second")
	row("writes refused meanwhile", fmt.Sprint(f.fillRefused), "")
	row("writes at rest, "+f.rest.String(), fmt.Sprint(f.restWrites), "0")
	row("tokens due in the busiest hour of the next day", fmt.Sprintf("%d, %.2f a second", f.busiestHour, float64(f.busiestHour)/3600), "0.3 a second on average")
	row("memory of the operator at rest", fmt.Sprintf("%d MiB, at most %d MiB", f.memory/mebibyte, f.peak/mebibyte), "100 MiB")
	row("writes after a restart, "+f.rest.String(), fmt.Sprint(f.restartWrites), "0")
	row("memory after a restart", fmt.Sprintf("%d MiB, at most %d MiB", f.restartMemory/mebibyte, f.restartPeak/mebibyte), "100 MiB")
	if f.hosts > 0 {
		row("change of hosts", fmt.Sprintf("%s, %d writes, %d tokens in the busiest minute", f.hosts.Round(time.Second), f.hostWrites, f.hostBusiest), "5 to 10 minutes")
	}
	if f.keys > 0 {
		row("replaced signing key", fmt.Sprintf("%s with the time until it is noticed, %d tokens, %d in the busiest minute", f.keys.Round(time.Second), f.keyTokens, f.keyBusiestMinute),
			"noticed within 5 minutes, spread over 10")
	}
}
